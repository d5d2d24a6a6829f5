//! Where the masters were last, for the next start: a line each, in the work directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use proto::roster::Masters;

/// Of what is remembered, so much comes before what is told by hand: more than there are voters in a group.
const FIRST: usize = 10;

/// In the work directory.
pub(crate) fn path(work_dir: &Path) -> PathBuf {
    work_dir.join("masters")
}

/// What is remembered; nothing where there is nothing, or nothing that can be read: then the settings have to do.
fn read(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter(|line| line.contains(':')).map(str::to_owned).collect()
}

/// What was learnt since an agent was set up, and behind it what it is told by hand: that is tried in any case, however much
/// it remembers.
pub(crate) fn before(path: &Path, mut named: Vec<String>) -> Vec<String> {
    let mut addresses = read(path);
    addresses.truncate(FIRST);
    Masters { addresses }.learn(&mut named);
    named
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

    #[test]
    fn what_is_named_by_hand_is_tried_however_much_is_remembered() {
        let dir = crate::scratch::Scratch::new("masters-named");
        let file = path(dir.path());
        let old: Vec<String> = (0..16).map(|n| format!("old{n}:7070")).collect();
        write(&file, &old).unwrap();
        let known = before(&file, vec!["new1:7070".to_owned(), "old3:7070".to_owned()]);
        assert_eq!(known[..FIRST], old[..FIRST]);
        assert_eq!(known[FIRST..], ["new1:7070"]);
    }
}
