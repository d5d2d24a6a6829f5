//! Scalar quantities: the integer arithmetic of the house.

use std::fmt;
use std::sync::Arc;

/// The name of a scalar resource.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scalar {
    /// Processor time, in thousandths of a cpu.
    Cpus,
    /// Memory, in bytes.
    Mem,
    /// Disk, in bytes.
    Disk,
    /// Whole graphics processors.
    Gpus,
    /// Any other resource an operator declares, in thousandths.
    Custom(Arc<str>),
}

impl Scalar {
    /// The name users see: `cpus`, `mem`, `disk`, `gpus` or the custom name.
    pub fn name(&self) -> &str {
        match self {
            Scalar::Cpus => "cpus",
            Scalar::Mem => "mem",
            Scalar::Disk => "disk",
            Scalar::Gpus => "gpus",
            Scalar::Custom(name) => name,
        }
    }

    /// The scalar of that name.
    pub fn named(name: &str) -> Self {
        match name {
            "cpus" => Scalar::Cpus,
            "mem" => Scalar::Mem,
            "disk" => Scalar::Disk,
            "gpus" => Scalar::Gpus,
            other => Scalar::Custom(Arc::from(other)),
        }
    }

    /// Shows an amount of this scalar as people write it: `1.5`, `2GiB`.
    pub fn show(&self, amount: u64) -> String {
        match self {
            Scalar::Cpus | Scalar::Custom(_) => show_milli(amount),
            Scalar::Mem | Scalar::Disk => show_bytes(amount),
            Scalar::Gpus => amount.to_string(),
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How many of the scalars stand in the fixed part.
pub const FIXED: usize = 4;
const FIXED_NAMES: [Scalar; FIXED] = [Scalar::Cpus, Scalar::Mem, Scalar::Disk, Scalar::Gpus];

/// An amount of each scalar resource. Absent means zero; no amount is ever negative.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Quantities {
    fixed: [u64; FIXED],
    /// Sorted by name; no zero amounts, so that equal quantities are equal values.
    custom: Vec<(Arc<str>, u64)>,
}

// === impl Quantities ===

impl Quantities {
    /// Nothing.
    pub const ZERO: Quantities = Quantities { fixed: [0; FIXED], custom: Vec::new() };

    /// Thousandths of a cpu, and bytes of memory.
    pub fn of(cpus_milli: u64, mem_bytes: u64) -> Self {
        Quantities { fixed: [cpus_milli, mem_bytes, 0, 0], custom: Vec::new() }
    }

    /// The same with so many bytes of disk.
    pub fn with_disk(mut self, disk_bytes: u64) -> Self {
        self.fixed[2] = disk_bytes;
        self
    }

    /// Thousandths of a cpu.
    pub fn cpus_milli(&self) -> u64 {
        self.fixed[0]
    }

    /// Bytes of memory.
    pub fn mem_bytes(&self) -> u64 {
        self.fixed[1]
    }

    /// Bytes of disk.
    pub fn disk_bytes(&self) -> u64 {
        self.fixed[2]
    }

    /// The four fixed amounts: cpus, mem, disk, gpus.
    pub fn fixed(&self) -> &[u64; FIXED] {
        &self.fixed
    }

    /// The custom amounts, sorted by name, none zero.
    pub fn custom(&self) -> &[(Arc<str>, u64)] {
        &self.custom
    }

    /// The amount of one scalar.
    pub fn get(&self, scalar: &Scalar) -> u64 {
        match scalar {
            Scalar::Cpus => self.fixed[0],
            Scalar::Mem => self.fixed[1],
            Scalar::Disk => self.fixed[2],
            Scalar::Gpus => self.fixed[3],
            Scalar::Custom(name) => {
                self.custom.binary_search_by(|(n, _)| n.cmp(name)).map_or(0, |at| self.custom[at].1)
            }
        }
    }

    /// Sets the amount of one scalar.
    pub fn set(&mut self, scalar: &Scalar, amount: u64) {
        match scalar {
            Scalar::Cpus => self.fixed[0] = amount,
            Scalar::Mem => self.fixed[1] = amount,
            Scalar::Disk => self.fixed[2] = amount,
            Scalar::Gpus => self.fixed[3] = amount,
            Scalar::Custom(name) => match self.custom.binary_search_by(|(n, _)| n.cmp(name)) {
                Ok(at) if amount == 0 => drop(self.custom.remove(at)),
                Ok(at) => self.custom[at].1 = amount,
                Err(_) if amount == 0 => {}
                Err(at) => self.custom.insert(at, (name.clone(), amount)),
            },
        }
    }

    /// Every scalar that is not zero, fixed ones first.
    pub fn iter(&self) -> impl Iterator<Item = (Scalar, u64)> + '_ {
        let fixed = FIXED_NAMES.iter().cloned().zip(self.fixed);
        let custom = self.custom.iter().map(|(name, amount)| (Scalar::Custom(name.clone()), *amount));
        fixed.chain(custom).filter(|(_, amount)| *amount > 0)
    }

    /// Whether every amount is zero.
    pub fn is_zero(&self) -> bool {
        self.fixed == [0; FIXED] && self.custom.is_empty()
    }

    /// Whether each amount here is at least the other's.
    pub fn contains(&self, other: &Quantities) -> bool {
        (0..FIXED).all(|i| self.fixed[i] >= other.fixed[i])
            && other.custom.iter().all(|(name, amount)| self.get(&Scalar::Custom(name.clone())) >= *amount)
    }

    /// Adds; saturates at `u64::MAX`, which no real pool reaches.
    pub fn add(&mut self, other: &Quantities) {
        for i in 0..FIXED {
            self.fixed[i] = self.fixed[i].saturating_add(other.fixed[i]);
        }
        for (name, amount) in &other.custom {
            let scalar = Scalar::Custom(name.clone());
            let sum = self.get(&scalar).saturating_add(*amount);
            self.set(&scalar, sum);
        }
    }

    /// Subtracts; `None`, and nothing changed, when an amount would fall below zero.
    #[must_use]
    pub fn checked_sub(&self, other: &Quantities) -> Option<Quantities> {
        if !self.contains(other) {
            return None;
        }
        Some(self.saturating_sub(other))
    }

    /// Subtracts; amounts stop at zero.
    #[must_use]
    pub fn saturating_sub(&self, other: &Quantities) -> Quantities {
        let mut result = self.clone();
        result.sub(other);
        result
    }

    /// Subtracts in place; amounts stop at zero.
    pub fn sub(&mut self, other: &Quantities) {
        for i in 0..FIXED {
            self.fixed[i] = self.fixed[i].saturating_sub(other.fixed[i]);
        }
        for (name, amount) in &other.custom {
            let scalar = Scalar::Custom(name.clone());
            let rest = self.get(&scalar).saturating_sub(*amount);
            self.set(&scalar, rest);
        }
    }

    /// The smaller amount of each scalar.
    #[must_use]
    pub fn min(&self, other: &Quantities) -> Quantities {
        let mut result = Quantities::ZERO;
        for i in 0..FIXED {
            result.fixed[i] = self.fixed[i].min(other.fixed[i]);
        }
        for (name, amount) in &self.custom {
            let scalar = Scalar::Custom(name.clone());
            result.set(&scalar, (*amount).min(other.get(&scalar)));
        }
        result
    }

    /// So many times each amount; saturates.
    #[must_use]
    pub fn times(&self, n: u64) -> Quantities {
        if n == 0 {
            return Quantities::ZERO;
        }
        let mut result = self.clone();
        result.fixed = result.fixed.map(|amount| amount.saturating_mul(n));
        result.custom.iter_mut().for_each(|(_, amount)| *amount = amount.saturating_mul(n));
        result
    }

    /// How many times `unit` fits; `u64::MAX` when `unit` is nothing.
    pub fn how_many(&self, unit: &Quantities) -> u64 {
        let mut most = u64::MAX;
        for i in 0..FIXED {
            most = most.min(self.fixed[i].checked_div(unit.fixed[i]).unwrap_or(u64::MAX));
        }
        for (name, amount) in &unit.custom {
            most = most.min(self.get(&Scalar::Custom(name.clone())) / amount);
        }
        most
    }

    /// What `self` lacks of `wanted`: for each scalar `wanted - self`, where that is above zero.
    #[must_use]
    pub fn lacking(&self, wanted: &Quantities) -> Quantities {
        wanted.saturating_sub(self)
    }
}

impl fmt::Display for Quantities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (scalar, amount) in self.iter() {
            let gap = if first { "" } else { " " };
            write!(f, "{gap}{}:{}", scalar, scalar.show(amount))?;
            first = false;
        }
        if first { f.write_str("nothing") } else { Ok(()) }
    }
}

impl fmt::Debug for Quantities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

/// Thousandths as people write them: `0.25`, `4`.
pub fn show_milli(milli: u64) -> String {
    let (whole, rest) = (milli / 1000, milli % 1000);
    if rest == 0 {
        return whole.to_string();
    }
    format!("{whole}.{}", format!("{rest:03}").trim_end_matches('0'))
}

/// Bytes as people write them, exact where a binary unit fits, one decimal where not: `2GiB`, `1.5GiB`, `100B`.
pub fn show_bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, size) in UNITS {
        if bytes >= size {
            let tenths = (u128::from(bytes) * 10 / u128::from(size)) as u64;
            return match tenths % 10 {
                0 => format!("{}{unit}", tenths / 10),
                rest => format!("{}.{rest}{unit}", tenths / 10),
            };
        }
    }
    format!("{bytes}B")
}

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAmount {
    /// What was given.
    pub given: String,
    /// What would have been right.
    pub wanted: &'static str,
}

impl fmt::Display for BadAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not {}", self.given, self.wanted)
    }
}

/// Reads thousandths from a decimal with at most three places: `0.5` is 500. More places are refused, not rounded.
pub fn parse_milli(text: &str) -> Result<u64, BadAmount> {
    let bad = || BadAmount {
        given: text.to_owned(),
        wanted: "a number with at most three decimals, such as 0.5 or 2",
    };
    let (whole, places) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits = |t: &str| t.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(places) || places.len() > 3 || text.trim().ends_with('.')
    {
        return Err(bad());
    }
    let whole: u64 = whole.parse().map_err(|_| bad())?;
    let places: u64 = format!("{places:0<3}").parse().map_err(|_| bad())?;
    whole.checked_mul(1000).and_then(|milli| milli.checked_add(places)).ok_or_else(bad)
}

/// Reads bytes from a number with a unit: `512MiB`, `512M` (the same), `1.5GiB`, `100B`; decimal units are `kB MB GB TB`.
/// A bare number is bytes.
pub fn parse_bytes(text: &str) -> Result<u64, BadAmount> {
    let bad =
        || BadAmount { given: text.to_owned(), wanted: "a size such as 512MiB, 2GiB or 1000000 (bytes)" };
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "K" | "Ki" | "KiB" | "k" => 1 << 10,
        "M" | "Mi" | "MiB" | "m" => 1 << 20,
        "G" | "Gi" | "GiB" | "g" => 1 << 30,
        "T" | "Ti" | "TiB" | "t" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(bad()),
    };
    let milli = parse_milli(number).map_err(|_| bad())?;
    u64::try_from(u128::from(milli) * u128::from(factor) / 1000).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_and_show() {
        assert_eq!(parse_milli("0.5"), Ok(500));
        assert_eq!(parse_milli("2"), Ok(2000));
        for bad in ["", ".5", "1.", "1.2345", "-1", "1e3", "99999999999999999999"] {
            assert!(parse_milli(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_bytes("1.5GiB"), Ok(3 << 29));
        assert_eq!(parse_bytes("512M"), Ok(512 << 20));
        assert_eq!(parse_bytes("1GB"), Ok(1_000_000_000));
        assert!(parse_bytes("12 parsecs").is_err());
        assert_eq!(show_milli(250), "0.25");
        assert_eq!(show_bytes(3 << 29), "1.5GiB");
    }

    #[test]
    fn custom_scalars_follow_the_same_arithmetic() {
        let fpga = Scalar::named("fpga");
        let mut a = Quantities::of(1000, 0);
        a.set(&fpga, 2000);
        let mut b = Quantities::ZERO;
        b.set(&fpga, 2000);
        assert!(a.contains(&b));
        assert_eq!(a.checked_sub(&b), Some(Quantities::of(1000, 0)));
        assert_eq!(b.checked_sub(&a), None);
        assert_eq!(b.lacking(&a), Quantities::of(1000, 0));
    }

    #[test]
    fn subtracting_undoes_adding() {
        let names = ["cpus", "mem", "disk", "gpus", "fpga", "slots"].map(Scalar::named);
        let mut seed = 7u64;
        let mut some = || {
            let mut q = Quantities::ZERO;
            for name in &names {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                q.set(name, (seed >> 33) % 4);
            }
            q
        };
        for _ in 0..2000 {
            let (a, b) = (some(), some());
            let mut sum = a.clone();
            sum.add(&b);
            assert_eq!(sum.checked_sub(&b), Some(a.clone()));
            let (low, mut rest) = (a.min(&b), a.clone());
            rest.sub(&b);
            rest.add(&low);
            assert_eq!(rest, a, "a = (a - b) + min(a, b)");
            assert_eq!(a.contains(&b), b.saturating_sub(&a).is_zero());
            let n = a.how_many(&b);
            if n < u64::MAX {
                assert!(a.contains(&b.times(n)) && !a.contains(&b.times(n + 1)));
            } else {
                assert!(b.is_zero());
            }
        }
    }
}
