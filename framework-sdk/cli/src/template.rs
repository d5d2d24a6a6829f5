//! `stoa sdk new LANG DIR`: writes a small framework with its tests, for an author to begin with.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::Terminal;

const EXAMPLES: &str = "Examples:
  stoa sdk new rust my-framework
  stoa sdk new python my-framework
  stoa sdk new go my-framework
  stoa sdk new java my-framework
  stoa sdk new rust ~/src/my-framework --sdk ~/src/stoa/framework-sdk

The SDK comes from a clone: --sdk names its folder framework-sdk. A `stoa` that was built in a clone finds it by itself.";

/// How to take the SDK from elsewhere.
const SDK_HINT: &str =
    "name the folder framework-sdk of a clone with --sdk DIR; a `stoa` built in a clone finds it by itself";

/// Writes a template.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct NewArgs {
    /// In which language
    #[arg(value_enum, value_name = "LANG")]
    pub language: Language,
    /// The directory to make; its last part is the framework's name
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The folder framework-sdk of a clone [default: of the clone that this `stoa` was built in]
    #[arg(long, value_name = "DIR")]
    pub sdk: Option<PathBuf>,
}

/// A language with a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// A package of Cargo.
    Rust,
    /// A script, and `./python` that runs it with the SDK's interpreter.
    Python,
    /// A module, and `./go` that builds it with the SDK's modules.
    Go,
    /// Classes, and `./java` that compiles and runs them with the SDK.
    Java,
}

/// One file: where, what, and whether it can be executed.
type File = (&'static str, &'static str, bool);

const RUST: [File; 6] = [
    ("Cargo.toml", include_str!("../../template/rust/manifest.toml"), false),
    ("README.md", include_str!("../../template/rust/README.md"), false),
    (".gitignore", "/target\n*.state\n", false),
    ("src/lib.rs", include_str!("../../template/rust/src/lib.rs"), false),
    ("src/main.rs", include_str!("../../template/rust/src/main.rs"), false),
    ("tests/framework.rs", include_str!("../../template/rust/tests/framework.rs"), false),
];

const PYTHON: [File; 5] = [
    ("README.md", include_str!("../../template/python/README.md"), false),
    (".gitignore", "__pycache__/\n*.state\n", false),
    ("python", include_str!("../../template/python/python"), true),
    ("framework.py", include_str!("../../template/python/framework.py"), false),
    ("tests/test_framework.py", include_str!("../../template/python/tests/test_framework.py"), false),
];

/// What the framework of the hello worlds is called in their texts; a new one is called otherwise.
const HELLO: &str = "\"hello";

const GO: [File; 6] = [
    (
        "go.mod",
        "module framework.example/NAME\n\nrequire stoa.example/sdk v0.0.0\n\nreplace stoa.example/sdk => SDK_PATH/go\n",
        false,
    ),
    ("README.md", include_str!("../../template/go/README.md"), false),
    (".gitignore", "/NAME\n*.id\n", false),
    ("go", include_str!("../../template/go/go"), true),
    ("main.go", include_str!("../../go/hello/main.go"), false),
    ("main_test.go", include_str!("../../template/go/main_test.go"), false),
];

const JAVA: [File; 5] = [
    ("README.md", include_str!("../../template/java/README.md"), false),
    (".gitignore", "/build\n*.id\n", false),
    ("java", include_str!("../../template/java/java"), true),
    ("src/Hello.java", include_str!("../../java/src/main/java/Hello.java"), false),
    ("src/HelloTest.java", include_str!("../../template/java/src/HelloTest.java"), false),
];

/// Writes it; the exit code.
pub fn run(args: &NewArgs) -> u8 {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    let mut nobody = io::empty();
    let terminal = &mut Terminal::of_process(&mut out, &mut err, &mut nobody);
    match write(args) {
        Ok(next) => {
            terminal.note(&next);
            Exit::Ok.code()
        }
        Err(failure) => {
            failure.report(false, terminal);
            failure.exit.code()
        }
    }
}

/// Writes it, and says what to type next.
fn write(args: &NewArgs) -> Result<String, Failure> {
    let name = name(&args.dir)?;
    let sdk = sdk(args.sdk.as_deref())?;
    let is_taken = fs::read_dir(&args.dir).is_ok_and(|mut entries| entries.next().is_some());
    if is_taken || args.dir.is_file() {
        let message = format!("{} is there already, and not an empty directory", args.dir.display());
        return Err(Failure::new(Exit::Conflict, "conflict", message, "name another directory"));
    }
    let files = match args.language {
        Language::Rust => RUST.as_slice(),
        Language::Python => PYTHON.as_slice(),
        Language::Go => GO.as_slice(),
        Language::Java => JAVA.as_slice(),
    };
    let path = sdk.to_str().filter(|path| !path.contains(['"', '\\', '\n', '\'']));
    let path = path.ok_or_else(|| {
        let message = format!("the path {} cannot be written into a manifest", sdk.display());
        Failure::usage(message, "move the clone to a path of plain characters")
    })?;
    for (file, text, executable) in files {
        let text = match args.language {
            Language::Rust | Language::Python => (*text).to_owned(),
            Language::Go | Language::Java => text.replace(HELLO, "\"NAME"),
        };
        let text = text.replace("NAME", &name).replace("SDK_PATH", path);
        let to = args.dir.join(file);
        put(&to, &text, *executable).map_err(|error| unwritten(&to, &error))?;
    }
    pin(args, &sdk)?;
    let dir = args.dir.display();
    let (count, command) = match args.language {
        Language::Rust => ("five", "cargo test"),
        Language::Python => ("five", "./python -m unittest discover -s tests"),
        Language::Go => ("four", "./go test"),
        Language::Java => ("four", "./java HelloTest"),
    };
    Ok(format!("{dir} has a framework and {count} tests:\n  cd {dir}\n  {command}"))
}

/// Takes the versions along that the SDK is tested with.
fn pin(args: &NewArgs, sdk: &Path) -> Result<(), Failure> {
    let copy = |from: PathBuf, name: &str| {
        let to = args.dir.join(name);
        fs::copy(from, &to).map(|_| ()).map_err(|error| unwritten(&to, &error))
    };
    match args.language {
        Language::Rust => {
            // Cargo drops what is not needed.
            let lock = sdk.with_file_name("Cargo.lock");
            if lock.exists() { copy(lock, "Cargo.lock") } else { Ok(()) }
        }
        Language::Go => {
            let (theirs, to) = (sdk.join("go/go.mod"), args.dir.join("go.mod"));
            let known = fs::read_to_string(&theirs).map_err(|error| unread(&theirs, &error))?;
            let begun = fs::read_to_string(&to).map_err(|error| unread(&to, &error))?;
            put(&to, &format!("{begun}{}", versions(&known)), false)
                .map_err(|error| unwritten(&to, &error))?;
            copy(sdk.join("go/go.sum"), "go.sum")
        }
        // The interpreter, and the classes, of the clone have them.
        Language::Python | Language::Java => Ok(()),
    }
}

/// What a go.mod says of versions: Go's own, and those of the modules.
fn versions(go_mod: &str) -> String {
    let blocks = go_mod.split("\n\n").map(str::trim);
    let wanted = blocks.filter(|block| block.starts_with("go ") || block.starts_with("require "));
    wanted.map(|block| format!("\n{block}\n")).collect()
}

/// The framework's name: that of the directory.
fn name(dir: &Path) -> Result<String, Failure> {
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_plain = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && name.len() <= 40;
    // Cargo refuses the first ones; the others are packages that it depends on.
    let is_taken = matches!(name, "test" | "build" | "deps" | "core" | "std" | "framework-sdk" | "tokio");
    if is_plain && !is_taken {
        return Ok(name.to_owned());
    }
    let message = format!("DIR ends in {name:?}, which cannot be the name of a framework");
    let hint = "name it with small letters, digits and '-', a letter first, at most 40, such as my-framework";
    Err(Failure::usage(message, hint))
}

/// Where the SDK is, as an absolute path.
fn sdk(said: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(said) = said {
        let path = said.canonicalize().ok().filter(|path| is_sdk(path));
        return path.ok_or_else(|| {
            Failure::not_found(
                format!("--sdk {} is not the folder framework-sdk of a clone", said.display()),
                SDK_HINT,
            )
        });
    }
    let program = std::env::current_exe().and_then(|path| path.canonicalize()).unwrap_or_default();
    let found = program.ancestors().map(|folder| folder.join("framework-sdk")).find(|path| is_sdk(path));
    found.ok_or_else(|| {
        Failure::not_found("this `stoa` does not stand in the clone it was built in", SDK_HINT)
    })
}

fn is_sdk(path: &Path) -> bool {
    path.join("Cargo.toml").is_file() && path.join("python/setup").is_file()
}

fn put(path: &Path, text: &str, executable: bool) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)?;
    if executable {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn unread(path: &Path, error: &io::Error) -> Failure {
    Failure::not_found(format!("cannot read {}: {error}", path.display()), SDK_HINT)
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Bad, "internal", format!("cannot write {}: {error}", path.display()), "")
}

#[test]
fn versions_are_taken_over_and_the_rest_is_not() {
    let go_mod = "module a\n\ngo 1.26.0\n\nrequire (\n\tb v1\n)\n\nrequire (\n\tc v2 // indirect\n)\n\ntool (\n\td\n)\n";
    let taken = "\ngo 1.26.0\n\nrequire (\n\tb v1\n)\n\nrequire (\n\tc v2 // indirect\n)\n";
    assert_eq!(versions(go_mod), taken);
}
