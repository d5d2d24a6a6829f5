//! The tables' grammar: one line a field, so that a conversion cannot forget one.
//!
//! Kinds of field: `plain` (text, number, id), `req` (a message that must be there), `opt` (one that may), `some` (one that is
//! left out when it says nothing), `rep` (many),
//! `optp` and `repp` (the same of plain fields), `one` (a oneof that must be set).

macro_rules! message {
    ($ty:ty = $wire:path { $($kind:ident $field:ident : $wfield:ident),* $(,)? }) => {
        impl $crate::wire::Wire for $ty {
            type Message = $wire;
            fn to_wire(&self) -> $wire {
                $wire { $($wfield: field_to!($kind self.$field)),* }
            }
            #[allow(unused_variables)]
            fn from_wire(message: $wire) -> Result<Self, $crate::wire::Malformed> {
                Ok(Self { $($field: field_from!($kind message.$wfield, stringify!($wfield))),* })
            }
        }
    };
}

macro_rules! field_to {
    (plain $v:expr) => {
        $crate::wire::Plain::to_plain(&$v)
    };
    (req $v:expr) => {
        Some($crate::wire::Wire::to_wire(&$v))
    };
    (opt $v:expr) => {
        $v.as_ref().map($crate::wire::Wire::to_wire)
    };
    (some $v:expr) => {
        (!$v.is_empty()).then(|| $crate::wire::Wire::to_wire(&$v))
    };
    (optp $v:expr) => {
        $v.as_ref().map($crate::wire::Plain::to_plain)
    };
    (rep $v:expr) => {
        $v.iter().map($crate::wire::Wire::to_wire).collect()
    };
    (repp $v:expr) => {
        $v.iter().map($crate::wire::Plain::to_plain).collect()
    };
    (one $v:expr) => {
        Some($crate::wire::OneOf::to_oneof(&$v))
    };
}

macro_rules! field_from {
    (plain $v:expr, $name:expr) => {
        $crate::wire::Plain::from_plain($v).map_err(|why| $crate::wire::Malformed::at($name, why))?
    };
    (req $v:expr, $name:expr) => {
        match $v {
            Some(inner) => $crate::wire::Wire::from_wire(inner).map_err(|bad| bad.within($name))?,
            None => return Err($crate::wire::Malformed::at($name, "is missing; it is required")),
        }
    };
    (opt $v:expr, $name:expr) => {
        match $v {
            Some(inner) => Some($crate::wire::Wire::from_wire(inner).map_err(|bad| bad.within($name))?),
            None => None,
        }
    };
    (some $v:expr, $name:expr) => {
        match $v {
            Some(inner) => $crate::wire::Wire::from_wire(inner).map_err(|bad| bad.within($name))?,
            None => Default::default(),
        }
    };
    (optp $v:expr, $name:expr) => {
        match $v {
            Some(inner) => Some(
                $crate::wire::Plain::from_plain(inner)
                    .map_err(|why| $crate::wire::Malformed::at($name, why))?,
            ),
            None => None,
        }
    };
    (rep $v:expr, $name:expr) => {{
        let mut items = Vec::with_capacity($v.len());
        for (at, inner) in $v.into_iter().enumerate() {
            items.push(
                $crate::wire::Wire::from_wire(inner)
                    .map_err(|bad| bad.within(&format!("{}[{at}]", $name)))?,
            );
        }
        items
    }};
    (repp $v:expr, $name:expr) => {{
        let mut items = Vec::with_capacity($v.len());
        for (at, inner) in $v.into_iter().enumerate() {
            items.push(
                $crate::wire::Plain::from_plain(inner)
                    .map_err(|why| $crate::wire::Malformed::at(&format!("{}[{at}]", $name), why))?,
            );
        }
        items
    }};
    (one $v:expr, $name:expr) => {
        match $v {
            Some(kind) => $crate::wire::OneOf::from_oneof(kind)?,
            None => {
                return Err($crate::wire::Malformed::at(
                    $name,
                    "is not set, or is of a kind that this version does not know",
                ));
            }
        }
    };
}

/// A oneof: `msg` for a variant that holds a message (`boxed` if it holds its own kind), `unit` for one that holds nothing, `text` for a plain one.
macro_rules! oneof {
    ($ty:ty = $kind:path { $($shape:ident $variant:ident : $wvariant:ident),* $(,)? }) => {
        impl $crate::wire::OneOf<$kind> for $ty {
            fn to_oneof(&self) -> $kind {
                use $kind as Kind;
                match self {
                    $(oneof_pattern!($shape $variant inner) => Kind::$wvariant(oneof_to!($shape inner)),)*
                }
            }
            fn from_oneof(kind: $kind) -> Result<Self, $crate::wire::Malformed> {
                use $kind as Kind;
                match kind {
                    $(Kind::$wvariant(inner) => oneof_from!($shape $variant inner, stringify!($wvariant)),)*
                }
            }
        }
    };
}

macro_rules! oneof_pattern {
    (unit $variant:ident $inner:ident) => {
        Self::$variant
    };
    ($shape:ident $variant:ident $inner:ident) => {
        Self::$variant($inner)
    };
}

macro_rules! oneof_to {
    (msg $inner:ident) => {
        $crate::wire::Wire::to_wire($inner)
    };
    (boxed $inner:ident) => {
        Box::new($crate::wire::Wire::to_wire(&**$inner))
    };
    (text $inner:ident) => {
        $crate::wire::Plain::to_plain($inner)
    };
    (unit $inner:ident) => {
        Default::default()
    };
}

macro_rules! oneof_from {
    (msg $variant:ident $inner:ident, $name:expr) => {
        $crate::wire::Wire::from_wire($inner)
            .map(Self::$variant)
            .map_err(|bad| bad.within(&$crate::wire::macros::snake($name)))
    };
    (boxed $variant:ident $inner:ident, $name:expr) => {
        $crate::wire::Wire::from_wire(*$inner)
            .map(|inner| Self::$variant(Box::new(inner)))
            .map_err(|bad| bad.within(&$crate::wire::macros::snake($name)))
    };
    (text $variant:ident $inner:ident, $name:expr) => {
        $crate::wire::Plain::from_plain($inner)
            .map(Self::$variant)
            .map_err(|why| $crate::wire::Malformed::at(&$crate::wire::macros::snake($name), why))
    };
    (unit $variant:ident $inner:ident, $name:expr) => {{
        let _ = $inner;
        Ok(Self::$variant)
    }};
}

/// A message that is nothing but a oneof.
macro_rules! only_oneof {
    ($($ty:ty = $wire:path;)+) => {$(
        impl $crate::wire::Wire for $ty {
            type Message = $wire;
            fn to_wire(&self) -> $wire {
                $wire { kind: Some($crate::wire::OneOf::to_oneof(self)) }
            }
            fn from_wire(message: $wire) -> Result<Self, $crate::wire::Malformed> {
                Ok(field_from!(one message.kind, "kind"))
            }
        }
    )+};
}

/// A message without fields.
macro_rules! empty_message {
    ($($ty:ty = $wire:path;)+) => {$(
        impl $crate::wire::Wire for $ty {
            type Message = $wire;
            fn to_wire(&self) -> $wire {
                $wire {}
            }
            fn from_wire(_: $wire) -> Result<Self, $crate::wire::Malformed> {
                Ok(Self)
            }
        }
    )+};
}

/// A closed enum as a number.
macro_rules! numbered {
    ($ty:ty = $wire:path { $($variant:ident : $wvariant:ident),* $(,)? }) => {
        impl $crate::wire::Plain<i32> for $ty {
            fn to_plain(&self) -> i32 {
                use $wire as Wire;
                match self {
                    $(Self::$variant => Wire::$wvariant as i32,)*
                }
            }
            fn from_plain(wire: i32) -> Result<Self, String> {
                use $wire as Wire;
                $(if wire == Wire::$wvariant as i32 {
                    return Ok(Self::$variant);
                })*
                Err(format!("is {wire}, which this version does not know"))
            }
        }
    };
}

/// `LaunchGroup` as `launch_group`: the name the `.proto` file gives the field.
pub(crate) fn snake(camel: &str) -> String {
    let mut snake = String::with_capacity(camel.len() + 4);
    for c in camel.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
