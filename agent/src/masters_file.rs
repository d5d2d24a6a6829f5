//! Where the masters were last, for the next start: a line each, in the work directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// In the work directory.
pub(crate) fn path(work_dir: &Path) -> PathBuf {
    work_dir.join("masters")
}

/// What is remembered; nothing where there is nothing, or nothing that can be read: then the settings have to do.
pub(crate) fn read(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter(|line| line.contains(':')).map(str::to_owned).collect()
}

/// Replaces it: whole, or not at all.
pub(crate) fn write(path: &Path, masters: &[String]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(masters.iter().map(|address| format!("{address}\n")).collect::<String>().as_bytes())?;
    file.sync_all()?;
    fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_not_there_is_nothing() {
        let dir = crate::scratch::Scratch::new("masters-file");
        let file = path(dir.path());
        assert_eq!(read(&file), Vec::<String>::new());
        let masters = ["h1:7070".to_owned(), "h2:7070".to_owned()];
        write(&file, &masters).unwrap();
        assert_eq!(read(&file), masters);
        write(&file, &masters[..1]).unwrap();
        assert_eq!(read(&file), masters[..1]);
    }
}
