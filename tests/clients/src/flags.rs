//! The command line: `--name value` pairs, each with a default.

use std::path::PathBuf;

/// What was said on it.
pub struct Flags {
    /// So many calls are to be answered.
    pub operations: u64,
    /// So many faults happen meanwhile.
    pub faults: u64,
    /// Chooses who calls what.
    pub seed: u64,
    /// The binary whose masters are called.
    pub stoa: PathBuf,
}

// === impl Flags ===

impl Flags {
    /// Reads them.
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Flags, String> {
        let mut flags = Flags { operations: 1_000_000, faults: 18, seed: 1, stoa: PathBuf::new() };
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number =
                || value.parse::<u64>().map_err(|_| format!("{name} cannot be {value:?}; give a number"));
            match name.as_str() {
                "--operations" => flags.operations = number()?,
                "--faults" => flags.faults = number()?,
                "--seed" => flags.seed = number()?,
                "--stoa" => flags.stoa = PathBuf::from(&value),
                _ => {
                    return Err(format!(
                        "{name:?} is unknown; known are --operations, --faults, --seed, --stoa"
                    ));
                }
            }
        }
        if flags.stoa.as_os_str().is_empty() {
            let this =
                std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
            flags.stoa = this.with_file_name("stoa");
        }
        let shown = flags.stoa.display().to_string();
        flags.stoa = flags.stoa.canonicalize().map_err(|error| {
            format!(
                "cannot find {shown}: {error}; build it with `cargo build --bin stoa`, or name it with --stoa"
            )
        })?;
        Ok(flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Flags, String> {
        Flags::parse(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn pairs_defaults_and_unknown_names() {
        let flags = parse(&["--faults", "3", "--stoa", "/dev/null"]).expect("known flags");
        assert_eq!((flags.faults, flags.operations, flags.seed), (3, 1_000_000, 1));
        assert!(parse(&["--fualts", "3"]).is_err_and(|why| why.contains("--faults")));
        assert!(parse(&["--seed", "x"]).is_err_and(|why| why.contains("number")));
        assert!(parse(&["--stoa", "/not/there"]).is_err_and(|why| why.contains("cargo build")));
    }
}
