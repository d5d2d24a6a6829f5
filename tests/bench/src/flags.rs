//! The command line of the cluster benches: `--name value` pairs, each with a default.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

/// What was said on the command line.
pub struct Flags {
    said: BTreeMap<String, String>,
}

// === impl Flags ===

impl Flags {
    /// Reads pairs; a name that is not among `known` is refused. `--allow-debug` stands alone.
    pub fn parse(mut args: impl Iterator<Item = String>, known: &[&str]) -> Result<Flags, String> {
        let mut said = BTreeMap::new();
        while let Some(name) = args.next() {
            let bare = name.strip_prefix("--").unwrap_or_default().to_owned();
            if bare == "allow-debug" {
                said.insert(bare, String::new());
                continue;
            }
            if bare != "stoa" && !known.contains(&bare.as_str()) {
                return Err(format!(
                    "{name:?} is unknown here; known are --stoa, --allow-debug, --{}",
                    known.join(", --")
                ));
            }
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            said.insert(bare, value);
        }
        Ok(Flags { said })
    }

    /// A number or a word, or its default.
    pub fn get<T: FromStr>(&self, name: &str, default: T) -> Result<T, String> {
        match self.said.get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| format!("--{name} cannot be {text:?}")),
        }
    }

    /// The binary to measure: `--stoa`, else the one beside this bench. A debug build is measured only on request: its
    /// figures mean nothing.
    pub fn stoa(&self) -> Result<PathBuf, String> {
        let path = match self.said.get("stoa") {
            Some(path) => PathBuf::from(path),
            None => std::env::current_exe()
                .map_err(|error| format!("cannot find this program: {error}"))?
                .with_file_name("stoa"),
        };
        let path = path.canonicalize().map_err(|error| {
            format!(
                "cannot find {}: {error}; build it with `cargo build --release`, or name it with --stoa",
                path.display()
            )
        })?;
        let is_debug = path.components().any(|part| part.as_os_str() == "debug");
        if is_debug && !self.said.contains_key("allow-debug") {
            return Err(format!(
                "{} is a debug build; measure a release build, or say --allow-debug",
                path.display()
            ));
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Flags, String> {
        Flags::parse(words.iter().map(|word| (*word).to_owned()), &["count"])
    }

    #[test]
    fn pairs_defaults_and_unknown_names() {
        let flags = parse(&["--count", "7", "--allow-debug"]).expect("known flags");
        assert_eq!(flags.get("count", 1_u32), Ok(7));
        assert_eq!(flags.get("rounds", 5_u32), Ok(5));
        assert!(parse(&["--cuont", "7"]).is_err_and(|why| why.contains("--count")));
        assert!(parse(&["--count"]).is_err());
        assert!(parse(&["--count", "x"]).expect("read later").get("count", 1_u32).is_err());
    }

    #[test]
    fn a_debug_build_is_refused() {
        let dir = std::env::temp_dir().join(format!("bench-flags-{}", std::process::id())).join("debug");
        std::fs::create_dir_all(&dir).expect("a directory");
        let path = dir.join("stoa");
        std::fs::write(&path, "").expect("a file");
        let path = path.display().to_string();
        assert!(parse(&["--stoa", &path]).expect("flags").stoa().is_err_and(|why| why.contains("debug")));
        assert!(parse(&["--stoa", &path, "--allow-debug"]).expect("flags").stoa().is_ok());
    }
}
