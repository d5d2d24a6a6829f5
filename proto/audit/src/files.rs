//! The files of one master's audit log: each is named by the number of its first line, and read from any place on.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::chain::{Hash, Head, Seal};
use crate::entry::Entry;

/// What files of an audit log end with.
const ENDING: &str = ".jsonl";
/// So much of it is read at once at most.
const BYTES_AT_ONCE: usize = 1 << 20;
/// So many lines are read at once at most.
const LINES_AT_ONCE: usize = 1000;
/// A line is some hundred bytes. Whatever is longer was not written by a master, and is not read whole.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// A place in a log: behind what was read of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The number in the name of a file.
    pub segment: u64,
    /// So many bytes into it.
    pub offset: u64,
}

/// Some lines, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Oldest first. What is no text is there with its bytes replaced, and so is found to be broken.
    pub lines: Vec<String>,
    /// Where to go on.
    pub next: Place,
    /// Whether there may be more at once.
    pub more: bool,
}

/// The name of the file whose first line has this number.
pub fn name(first: u64) -> String {
    format!("{first:020}{ENDING}")
}

/// The files of a log, oldest first.
pub fn segments(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(ENDING));
        if let Some(first) = number.and_then(|number| number.parse().ok()) {
            found.push((first, path));
        }
    }
    found.sort();
    Ok(found)
}

/// One file, line by line, from an offset on.
struct Lines {
    reader: BufReader<File>,
    offset: u64,
}

impl Lines {
    /// `None`: the file is gone, as the oldest one is when there is too much.
    fn open(path: &Path, offset: u64) -> io::Result<Option<Lines>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(offset))?;
        Ok(Some(Lines { reader: BufReader::new(file), offset }))
    }

    /// The next line, and the offset behind it. `None` where the last line that is whole has been read.
    fn next(&mut self) -> io::Result<Option<(String, u64)>> {
        let mut line = Vec::new();
        (&mut self.reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        let whole = line.last() == Some(&b'\n') || line.len() as u64 == LINE_BYTES_MAX;
        if !whole {
            return Ok(None);
        }
        self.offset += line.len() as u64;
        let text = String::from_utf8_lossy(&line);
        Ok(Some((text.strip_suffix('\n').unwrap_or(&text).to_owned(), self.offset)))
    }
}

/// The lines behind a place that are wanted. A line whose end is not written yet is none.
pub fn read(dir: &Path, from: Place, wanted: impl Fn(&str) -> bool) -> io::Result<Page> {
    let mut page = Page { next: from, ..Page::default() };
    let mut bytes = 0;
    for (segment, path) in segments(dir)?.into_iter().filter(|(segment, _)| *segment >= from.segment) {
        let offset = if segment == from.segment { from.offset } else { 0 };
        let Some(mut lines) = Lines::open(&path, offset)? else { continue };
        page.next = Place { segment, offset };
        while let Some((line, end)) = lines.next()? {
            if wanted(&line) {
                if page.lines.len() >= LINES_AT_ONCE || bytes + line.len() > BYTES_AT_ONCE {
                    page.more = true;
                    return Ok(page);
                }
                bytes += line.len();
                page.lines.push(line);
            }
            page.next.offset = end;
        }
    }
    Ok(page)
}

/// The last lines that are wanted, and the end of the log. Files are read from the newest back, until there are enough.
pub fn read_last(dir: &Path, count: usize, wanted: impl Fn(&str) -> bool) -> io::Result<Page> {
    let count = count.min(LINES_AT_ONCE);
    let mut kept: VecDeque<String> = VecDeque::new();
    let mut next = None;
    for (segment, path) in segments(dir)?.into_iter().rev() {
        let Some(mut lines) = Lines::open(&path, 0)? else { continue };
        let room = count.saturating_sub(kept.len());
        let mut own: VecDeque<String> = VecDeque::new();
        while let Some((line, _)) = lines.next()? {
            if room > 0 && wanted(&line) {
                own.push_back(line);
                own.drain(..own.len().saturating_sub(room));
            }
        }
        next = next.or(Some(Place { segment, offset: lines.offset }));
        own.append(&mut kept);
        kept = own;
        if kept.len() >= count {
            break;
        }
    }
    Ok(Page { lines: kept.into(), next: next.unwrap_or_default(), more: false })
}

/// How a log stands on a disk, for whoever goes on writing it.
#[derive(Clone, Debug, Default)]
pub struct End {
    /// The file to go on with; `None`: there is none.
    pub file: Option<PathBuf>,
    /// What of it is whole lines.
    pub bytes: u64,
    /// The last line.
    pub head: Head,
    /// What the newest file says of others' logs.
    pub seals: Vec<Seal>,
}

/// How a log stands on a disk. What cannot be read is passed over here: it is the checker's to say.
pub fn end(dir: &Path) -> io::Result<End> {
    let mut end = End::default();
    for (first, path) in segments(dir)?.into_iter().rev() {
        let Some(mut lines) = Lines::open(&path, 0)? else { continue };
        let newest = end.file.is_none();
        let mut last = None;
        while let Some((line, _)) = lines.next()? {
            let entry = Entry::parse(&line).ok();
            let sequence = entry.as_ref().map(|entry| entry.sequence);
            let before = last.map_or(first.saturating_sub(1), |head: Head| head.sequence);
            last = Some(Head { sequence: sequence.unwrap_or(before + 1), hash: Hash::of(line.as_bytes()) });
            end.seals.extend(entry.filter(|_| newest).as_ref().and_then(Entry::witnessed));
        }
        if newest {
            end.bytes = lines.offset;
            end.file = Some(path);
        }
        if let Some(head) = last {
            end.head = head;
            break;
        }
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Dir {
            let dir = std::env::temp_dir().join(format!("stoa-audit-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir_all(&dir).unwrap();
            Dir(dir)
        }

        fn file(&self, first: u64, text: &str) {
            fs::write(self.0.join(name(first)), text).unwrap();
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn lines_are_read_over_files_and_from_any_place_on() {
        let dir = Dir::new("read");
        dir.file(1, "a1\nb2\n");
        dir.file(3, "a3\nb4\nhalf");
        fs::write(dir.0.join("other.txt"), "x\n").unwrap();
        let all = read(&dir.0, Place::default(), |_| true).unwrap();
        assert_eq!(
            (all.lines, all.next),
            (vec!["a1".into(), "b2".into(), "a3".into(), "b4".into()], Place { segment: 3, offset: 6 })
        );
        let behind = read(&dir.0, Place { segment: 1, offset: 3 }, |line| line.starts_with('b')).unwrap();
        assert_eq!(behind.lines, ["b2", "b4"]);
        dir.file(3, "a3\nb4\nhalf no more\n");
        assert_eq!(read(&dir.0, all.next, |_| true).unwrap().lines, ["half no more"]);
        let last = read_last(&dir.0, 2, |line| line.starts_with('a')).unwrap();
        assert_eq!((last.lines, last.next.segment), (vec!["a1".into(), "a3".into()], 3));
        assert_eq!(read_last(&dir.0, 1, |_| true).unwrap().lines, ["half no more"]);
        assert_eq!(read_last(&dir.0, 9, |_| true).unwrap().lines.len(), 5);
        let nothing = Dir::new("nothing");
        assert_eq!(read_last(&nothing.0, 9, |_| true).unwrap(), Page::default());
    }

    #[test]
    fn what_does_not_fit_into_one_answer_is_in_the_next() {
        let dir = Dir::new("pages");
        let text: String = (0..2 * LINES_AT_ONCE + 1).map(|number| format!("{number}\n")).collect();
        dir.file(1, &text);
        let (mut place, mut lines, mut pages) = (Place::default(), Vec::new(), 0);
        loop {
            let page = read(&dir.0, place, |_| true).unwrap();
            (place, pages) = (page.next, pages + 1);
            lines.extend(page.lines);
            if !page.more {
                break;
            }
        }
        assert_eq!((lines.len(), pages), (2 * LINES_AT_ONCE + 1, 3));
        assert_eq!(lines.last().map(String::as_str), Some("2000"));
    }
}
