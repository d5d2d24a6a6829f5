//! Messages made up from the `.proto` files: a new field is tried without a word here, unless it has rules.

use std::path::Path;

use proptest::prelude::*;
use proptest::strategy::Union;
use proto::refusal::Code;
use protox::prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};

/// A field of a message and what it holds; nothing where it is left out.
type Filled = Option<(FieldDescriptor, Value)>;

/// The messages of the contracts.
pub struct Messages(DescriptorPool);

impl Messages {
    /// Those of the `.proto` files in this folder, `proto/v1`.
    pub fn of_the_contracts(folder: &Path) -> Messages {
        let files = [
            "types",
            "scheduler",
            "agent",
            "operator",
            "raft",
            "log",
            "ledger",
            "store",
            "store_log",
            "backup",
        ];
        let files = files.map(|name| format!("{name}.proto"));
        let set = protox::compile(files, [folder]).expect("the .proto files compile");
        Messages(DescriptorPool::from_file_descriptor_set(set).expect("a pool of descriptors"))
    }

    pub fn descriptor(&self, name: &str) -> MessageDescriptor {
        self.0.get_message_by_name(name).unwrap_or_else(|| panic!("no .proto file has a message {name}"))
    }

    /// Messages of this kind that keep the rules.
    pub fn of(&self, descriptor: &MessageDescriptor) -> BoxedStrategy<DynamicMessage> {
        match descriptor.name() {
            "Resources" => self.resources(descriptor),
            "NamedRanges" => self.named_ranges(descriptor),
            _ => self.plain(descriptor),
        }
    }

    fn plain(&self, descriptor: &MessageDescriptor) -> BoxedStrategy<DynamicMessage> {
        let mut parts: Vec<BoxedStrategy<Filled>> = Vec::new();
        for oneof in descriptor.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            // What may hold its own kind is wrapped once, below.
            let fields = oneof.fields().filter(|field| field.kind() != Kind::Message(descriptor.clone()));
            parts.push(Union::new(fields.map(|field| self.filled(&field))).boxed());
        }
        let alone =
            |field: &FieldDescriptor| field.containing_oneof().is_none_or(|oneof| oneof.is_synthetic());
        for field in descriptor.fields().filter(alone) {
            // Checks that name none are as no checks.
            let must = descriptor.name() == "Checks" && field.name() == "health";
            let optional = field.containing_oneof().is_some() && !must;
            let filled = self.filled(&field);
            parts.push(if optional { prop_oneof![Just(None), filled].boxed() } else { filled });
        }
        let own = descriptor.fields().find(|field| field.kind() == Kind::Message(descriptor.clone()));
        let descriptor = descriptor.clone();
        let whole = descriptor.clone();
        let plain = parts.prop_map(move |parts| build(&whole, parts.into_iter().flatten())).boxed();
        let Some(own) = own else { return plain };
        let wrap = move |inner| build(&descriptor, std::iter::once((own.clone(), Value::Message(inner))));
        prop_oneof![plain.clone(), plain.prop_map(wrap)].boxed()
    }

    fn filled(&self, field: &FieldDescriptor) -> BoxedStrategy<Filled> {
        let owner = field.clone();
        self.held(field).prop_map(move |value| Some((owner.clone(), value))).boxed()
    }

    fn held(&self, field: &FieldDescriptor) -> BoxedStrategy<Value> {
        if field.is_map() {
            return self.map(field);
        }
        let name = (field.parent_message().name().to_owned(), field.name().to_owned());
        match (name.0.as_str(), name.1.as_str()) {
            // Their names do not repeat and stand in order, as the amounts of a value do.
            ("Amount", "ranges" | "sets") => self.sorted(field, "name"),
            ("NamedSet", "items") => prop::collection::btree_set(text(), 1..4)
                .prop_map(|items| Value::List(items.into_iter().map(Value::String).collect()))
                .boxed(),
            _ if field.cardinality() == Cardinality::Repeated => {
                prop::collection::vec(self.single(field), 0..3).prop_map(Value::List).boxed()
            }
            _ => self.single(field),
        }
    }

    /// One value of a field, by its type and, where it has rules, by its name.
    fn single(&self, field: &FieldDescriptor) -> BoxedStrategy<Value> {
        let message = field.parent_message();
        let (message, name) = (message.name(), field.name());
        match field.kind() {
            // A transaction in a transaction, and so on: one level is tried.
            Kind::Message(inner) if matches!((message, name), ("Operation" | "OperationReply", "txn")) => {
                Just(Value::Message(DynamicMessage::new(inner))).boxed()
            }
            Kind::Message(inner) => self.of(&inner).prop_map(Value::Message).boxed(),
            Kind::Enum(numbers) => {
                // The number 0 says "not said", which is an answer for one of them only.
                let unsaid = numbers.name() == "StatusReason";
                let values = numbers.values().map(|value| value.number()).filter(|n| unsaid || *n != 0);
                prop::sample::select(values.collect::<Vec<_>>()).prop_map(Value::EnumNumber).boxed()
            }
            Kind::String => self::string(message, name).prop_map(Value::String).boxed(),
            Kind::Bytes => {
                let run = prop::collection::vec(any::<u8>(), 16);
                let bytes = match (message, name) {
                    ("TaskStatus", "run_id") => prop_oneof![Just(Vec::new()), run].boxed(),
                    (_, "run_id") => run.boxed(),
                    _ => prop::collection::vec(any::<u8>(), 0..40).boxed(),
                };
                bytes.prop_map(|bytes| Value::Bytes(bytes.into())).boxed()
            }
            Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => any::<i32>().prop_map(Value::I32).boxed(),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => any::<i64>().prop_map(Value::I64).boxed(),
            Kind::Uint32 if (message, name) == ("CheckPort", "number") => {
                (0..=u32::from(u16::MAX)).prop_map(Value::U32).boxed()
            }
            Kind::Uint32 | Kind::Fixed32 => {
                let least = u32::from(name == "weight_milli");
                prop_oneof![least..10, least..=u32::MAX].prop_map(Value::U32).boxed()
            }
            Kind::Uint64 | Kind::Fixed64 => {
                let member = name == "master_id"
                    || matches!(
                        (message, name),
                        ("Roster", "retired")
                            | ("ChangeMasters", "remove")
                            | ("Envelope", "from" | "to")
                            | ("MemberView" | "Member" | "Master", "id")
                    );
                let least = u64::from(member);
                prop_oneof![least..10, least..=u64::MAX].prop_map(Value::U64).boxed()
            }
            Kind::Float | Kind::Double => panic!("{message}.{name} is a float: the house counts in integers"),
        }
    }

    fn map(&self, field: &FieldDescriptor) -> BoxedStrategy<Value> {
        let Kind::Message(entry) = field.kind() else { panic!("a map without entries") };
        let value = entry.map_entry_value_field();
        let entries = match field.name() {
            // What has a field of its own is no custom scalar, and none of something is left out.
            "custom_milli" => (
                word().prop_map(|word| format!("x-{word}")).boxed(),
                (1..=u64::MAX).prop_map(Value::U64).boxed(),
            ),
            "by_name" => (word(), self.single(&value)),
            _ => (text(), self.single(&value)),
        };
        entries_of(entries.0, entries.1)
    }

    /// Messages in the order of one of their texts, no two with the same.
    fn sorted(&self, field: &FieldDescriptor, by: &'static str) -> BoxedStrategy<Value> {
        let Kind::Message(inner) = field.kind() else { panic!("a list of messages") };
        let named = prop::collection::btree_map(word(), self.of(&inner), 0..3);
        named
            .prop_map(move |named| {
                let with_name = |(name, mut message): (String, DynamicMessage)| {
                    message.set_field_by_name(by, Value::String(name));
                    Value::Message(message)
                };
                Value::List(named.into_iter().map(with_name).collect())
            })
            .boxed()
    }

    /// Ranges in order that neither touch nor overlap, and at least one.
    fn named_ranges(&self, descriptor: &MessageDescriptor) -> BoxedStrategy<DynamicMessage> {
        let (whole, range) = (descriptor.clone(), self.descriptor("stoa.v1.Range"));
        prop::collection::vec((2..1_000u64, 0..1_000u64), 1..4)
            .prop_map(move |steps| {
                let mut next = 0;
                let ranges = steps.into_iter().map(|(gap, length)| {
                    let first = next + gap;
                    next = first + length;
                    let mut one = DynamicMessage::new(range.clone());
                    one.set_field_by_name("first", Value::U64(first));
                    one.set_field_by_name("last", Value::U64(next));
                    Value::Message(one)
                });
                let mut all = DynamicMessage::new(whole.clone());
                all.set_field_by_name("ranges", Value::List(ranges.collect()));
                all
            })
            .boxed()
    }

    /// Portions in order, no two of the same reservation and volume, none empty.
    fn resources(&self, descriptor: &MessageDescriptor) -> BoxedStrategy<DynamicMessage> {
        let (whole, portion) = (descriptor.clone(), self.descriptor("stoa.v1.Portion"));
        let key = (prop::option::of(role()), prop::option::of(id()));
        prop::collection::btree_map(key, self.of(&self.descriptor("stoa.v1.Amount")), 0..3)
            .prop_map(move |portions| {
                let portions = portions.into_iter().map(|((reservation, volume), mut amount)| {
                    let mut one = DynamicMessage::new(portion.clone());
                    let mut scalars = amount
                        .get_field_by_name("scalars")
                        .expect("scalars")
                        .as_message()
                        .expect("a message")
                        .clone();
                    scalars.set_field_by_name("cpus_milli", Value::U64(1));
                    amount.set_field_by_name("scalars", Value::Message(scalars));
                    one.set_field_by_name("amount", Value::Message(amount));
                    for (name, value) in [("reservation", reservation), ("volume", volume)] {
                        value.into_iter().for_each(|value| one.set_field_by_name(name, Value::String(value)));
                    }
                    Value::Message(one)
                });
                let mut all = DynamicMessage::new(whole.clone());
                all.set_field_by_name("portions", Value::List(portions.collect()));
                all
            })
            .boxed()
    }
}

fn build(
    descriptor: &MessageDescriptor,
    parts: impl Iterator<Item = (FieldDescriptor, Value)>,
) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    parts.for_each(|(field, value)| message.set_field(&field, value));
    message
}

fn entries_of(key: BoxedStrategy<String>, value: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    prop::collection::btree_map(key, value, 0..3)
        .prop_map(|map| {
            let entries = map.into_iter().map(|(key, value)| (MapKey::String(key), value));
            Value::Map(entries.collect())
        })
        .boxed()
}

/// A text field by its name; what no rule names may hold anything.
fn string(message: &str, field: &str) -> BoxedStrategy<String> {
    let free = matches!((message, field), ("TokenCreated" | "TokenUsed", "token_id"));
    match (message, field) {
        _ if free => text(),
        ("Offer" | "OfferView", "id") | (_, "offer_id" | "offer_ids") => {
            (any::<u64>(), any::<u64>()).prop_map(|(epoch, number)| format!("O{epoch}-{number}")).boxed()
        }
        ("Call", "operation_id") => prop_oneof![Just(String::new()), id()].boxed(),
        ("Refusal", "code") => {
            prop::sample::select(Code::ALL.to_vec()).prop_map(|code| code.as_str().to_owned()).boxed()
        }
        ("Constraint", "attribute") => word(),
        ("Rights", "roles") => {
            prop_oneof![Just("*".to_owned()), role(), role().prop_map(|role| role + "/*")].boxed()
        }
        ("CanI", "role") => prop_oneof![Just(String::new()), role()].boxed(),
        ("Happened", "agent_id" | "framework_id" | "task_id") => {
            prop_oneof![Just(String::new()), id()].boxed()
        }
        ("CanI", "principal") => prop_oneof![Just(String::new()), caller()].boxed(),
        ("SetRights" | "RightsSet" | "PrincipalView", "principal") => caller(),
        ("SecretFile", "file") => prop_oneof![Just(String::new()), id()].boxed(),
        ("SecretFile" | "SecretView" | "SetSecret" | "RemoveSecret", "name")
        | ("SecretSet" | "SecretRemoved" | "SecretRecord", "name")
        | ("SecretContent", "file")
        | ("Event", "framework_removed")
        | ("Offer", "demand")
        | ("TaskInfo", "group")
        | ("Portion", "volume") => id(),
        (_, "role" | "roles" | "suppressed_roles" | "reservation") => role(),
        _ if field == "id" || field.ends_with("_id") || field.ends_with("_ids") => id(),
        _ => text(),
    }
}

fn of_letters(letters: &'static str, most: usize) -> BoxedStrategy<String> {
    let letter = prop::sample::select(letters.chars().collect::<Vec<_>>());
    prop::collection::vec(letter, 1..most).prop_map(String::from_iter).boxed()
}

fn id() -> BoxedStrategy<String> {
    of_letters("abcXYZ019-_:@#é", 12)
}

fn word() -> BoxedStrategy<String> {
    of_letters("abcXYZ019-_./", 6)
}

fn role() -> BoxedStrategy<String> {
    prop::collection::vec(of_letters("abcXYZ019_", 5), 1..4).prop_map(|names| names.join("/")).boxed()
}

fn caller() -> BoxedStrategy<String> {
    let named = of_letters("abcXYZ019-_.@", 6);
    (prop::sample::select(vec!["framework", "user"]), named)
        .prop_map(|(kind, name)| format!("{kind}/{name}"))
        .boxed()
}

fn text() -> BoxedStrategy<String> {
    prop::collection::vec(any::<char>(), 0..8).prop_map(String::from_iter).boxed()
}
