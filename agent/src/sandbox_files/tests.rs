//! Output is read whole, once and in order, whatever rotation and the task do meanwhile.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::*;
use crate::scratch::Scratch;

/// What the keeper does with a full file.
struct Keeper {
    dir: PathBuf,
    file: Option<File>,
    file_bytes_max: usize,
    rotated_max: u32,
    bytes: usize,
}

impl Keeper {
    fn new(dir: &Path, file_bytes_max: usize, rotated_max: u32) -> Keeper {
        Keeper { dir: dir.to_owned(), file: None, file_bytes_max, rotated_max, bytes: 0 }
    }

    fn rename(&self, from: u32, to: u32) {
        let name = |n: u32| if n == 0 { "stdout".to_owned() } else { format!("stdout.{n}") };
        let _ = fs::rename(self.dir.join(name(from)), self.dir.join(name(to)));
    }

    fn write(&mut self, mut text: &[u8]) {
        while !text.is_empty() {
            if self.file.is_some() && self.bytes >= self.file_bytes_max {
                for number in (0..self.rotated_max).rev() {
                    self.rename(number, number + 1);
                }
                self.file = None;
            }
            let dir = &self.dir;
            let file = self.file.get_or_insert_with(|| {
                self.bytes = 0;
                File::create_new(dir.join("stdout")).unwrap()
            });
            let (head, rest) = text.split_at((self.file_bytes_max - self.bytes).min(text.len()));
            file.write_all(head).unwrap();
            self.bytes += head.len();
            text = rest;
        }
    }
}

fn rest(output: &mut Output) -> String {
    let mut all = Vec::new();
    while let Some(bytes) = output.next().unwrap() {
        assert!(bytes.len() <= CHUNK_BYTES_MAX);
        all.extend_from_slice(bytes);
    }
    String::from_utf8(all).unwrap()
}

fn open(scratch: &Scratch, tail: Option<u64>) -> Output {
    Output::open(scratch.path(), "stdout", tail.map_or(Start::Beginning, Start::Tail)).unwrap()
}

#[test]
fn rotated_files_are_read_oldest_first() {
    let scratch = Scratch::new("files-order");
    Keeper::new(scratch.path(), 4, 3).write(b"aaaabbbbccccdddde");
    fs::write(scratch.path().join("stderr"), "other").unwrap();
    fs::write(scratch.path().join("stdout.txt"), "other").unwrap();
    assert_eq!(rest(&mut open(&scratch, None)), "bbbbccccdddde");
}

#[test]
fn a_large_file_comes_in_chunks() {
    let scratch = Scratch::new("files-large");
    let text = "0123456789".repeat(20_000);
    fs::write(scratch.path().join("stdout"), &text).unwrap();
    assert!(rest(&mut open(&scratch, None)) == text);
}

#[test]
fn what_is_written_later_follows() {
    let scratch = Scratch::new("files-later");
    let mut output = open(&scratch, None);
    assert_eq!(rest(&mut output), "");
    let mut keeper = Keeper::new(scratch.path(), 100, 1);
    keeper.write(b"one ");
    assert_eq!(rest(&mut output), "one ");
    assert_eq!(rest(&mut output), "");
    keeper.write(b"two");
    assert_eq!(rest(&mut output), "two");
}

#[test]
fn no_byte_is_lost_or_doubled_by_rotation() {
    // Every pattern of reading between writes; as many files are kept as are ever written between two readings.
    for pattern in 0_u32..256 {
        let scratch = Scratch::new("files-rotation");
        let mut keeper = Keeper::new(scratch.path(), 5, 8);
        let mut output = open(&scratch, None);
        let (mut wrote, mut read) = (String::new(), String::new());
        for step in 0..8 {
            let text = format!("<{pattern}.{step}>");
            keeper.write(text.as_bytes());
            wrote.push_str(&text);
            if pattern & (1 << step) != 0 {
                read.push_str(&rest(&mut output));
            } else if let Some(bytes) = output.next().unwrap() {
                read.push_str(std::str::from_utf8(bytes).unwrap());
            }
        }
        read.push_str(&rest(&mut output));
        assert_eq!(read, wrote, "pattern {pattern}");
    }
}

#[test]
fn a_reader_beside_a_writer_loses_nothing() {
    let scratch = Scratch::new("files-race");
    let mut output = open(&scratch, None);
    let dir = scratch.path().to_owned();
    // More files are kept than are written: all that is read wrongly is then the reader's own fault.
    let writer = std::thread::spawn(move || {
        let mut keeper = Keeper::new(&dir, 64, 900);
        for number in 0..5_000 {
            keeper.write(format!("{number}\n").as_bytes());
        }
    });
    let mut read = String::new();
    while !writer.is_finished() {
        read.push_str(&rest(&mut output));
    }
    writer.join().unwrap();
    read.push_str(&rest(&mut output));
    let wrote: String = (0..5_000).map(|number| format!("{number}\n")).collect();
    assert!(read == wrote, "read {} bytes, {} were written", read.len(), wrote.len());
}

#[test]
fn a_reader_that_was_left_behind_goes_on_with_the_oldest_there_is() {
    let scratch = Scratch::new("files-behind");
    let mut keeper = Keeper::new(scratch.path(), 4, 2);
    keeper.write(b"aa");
    let mut output = open(&scratch, None);
    assert_eq!(rest(&mut output), "aa");
    keeper.write(b"aabbbbccccddddee");
    // The file being read is held, so its rest is there; b was rotated away meanwhile.
    assert_eq!(rest(&mut output), "aaccccddddee");
    keeper.write(b"ee");
    assert_eq!(rest(&mut output), "ee");
}

#[test]
fn a_file_that_is_emptied_in_place_begins_anew() {
    let scratch = Scratch::new("files-emptied");
    let path = scratch.path().join("stdout");
    fs::write(&path, "a long text").unwrap();
    let mut output = open(&scratch, None);
    assert_eq!(rest(&mut output), "a long text");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(0).unwrap();
    file.write_all_at(b"new", 0).unwrap();
    assert_eq!(rest(&mut output), "new");
    assert_eq!(rest(&mut output), "");
}

#[test]
fn a_task_that_removes_its_output_is_still_read_and_nothing_twice() {
    let scratch = Scratch::new("files-removed");
    let mut keeper = Keeper::new(scratch.path(), 4, 2);
    keeper.write(b"aaaabb");
    let mut output = open(&scratch, None);
    assert_eq!(rest(&mut output), "aaaabb");
    fs::remove_file(scratch.path().join("stdout")).unwrap();
    assert_eq!(rest(&mut output), "");
    keeper.write(b"bbcc");
    assert_eq!(rest(&mut output), "bbcc");
}

#[test]
fn a_tail_begins_at_a_line_in_whatever_file() {
    let scratch = Scratch::new("files-tail");
    Keeper::new(scratch.path(), 5, 9).write(b"one\ntwo\nthree\n\nfive\n");
    let tail = |lines| rest(&mut open(&scratch, Some(lines)));
    assert_eq!(tail(0), "");
    assert_eq!(tail(1), "five\n");
    assert_eq!(tail(2), "\nfive\n");
    assert_eq!(tail(3), "three\n\nfive\n");
    assert_eq!(tail(4), "two\nthree\n\nfive\n");
    assert_eq!(tail(5), "one\ntwo\nthree\n\nfive\n");
    assert_eq!(tail(u64::MAX), "one\ntwo\nthree\n\nfive\n");
}

#[test]
fn a_tail_without_a_last_newline_or_longer_than_a_block() {
    let scratch = Scratch::new("files-tail-long");
    let path = scratch.path().join("stdout");
    fs::write(&path, "one\ntwo").unwrap();
    assert_eq!(rest(&mut open(&scratch, Some(1))), "two");
    let lines: Vec<String> = (0..30_000).map(|number| format!("line {number}\n")).collect();
    fs::write(&path, lines.concat()).unwrap();
    for wanted in [1, 9_999, 29_999, 30_000] {
        let read = rest(&mut open(&scratch, Some(wanted as u64)));
        assert!(read == lines[lines.len() - wanted..].concat(), "{wanted} lines");
    }
    let mut output = open(&scratch, Some(0));
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"new").unwrap();
    assert_eq!(rest(&mut output), "new");
}

#[test]
fn what_is_not_a_plain_file_is_not_read() {
    let scratch = Scratch::new("files-hostile");
    let secret = scratch.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let sandbox = scratch.path().join("sandbox");
    fs::create_dir(&sandbox).unwrap();
    let place = sandbox.join("stdout");
    let refused = |what: &str| {
        let error = Output::open(&sandbox, "stdout", Start::Beginning).expect_err(what);
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{what}: {error}");
    };
    symlink(&secret, &place).unwrap();
    refused("a link");
    fs::remove_file(&place).unwrap();
    fs::hard_link(&secret, &place).unwrap();
    refused("a second name");
    fs::remove_file(&place).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &place, Mode::from(0o600)).unwrap();
    refused("a pipe");
    fs::remove_file(&place).unwrap();
    fs::create_dir(&place).unwrap();
    refused("a directory");
    fs::remove_dir(&place).unwrap();
    symlink(&secret, sandbox.join("stdout.1")).unwrap();
    fs::write(&place, "mine").unwrap();
    assert_eq!(rest(&mut Output::open(&sandbox, "stdout", Start::Beginning).unwrap()), "mine");
    let link = scratch.path().join("link");
    symlink(&sandbox, &link).unwrap();
    assert!(Output::open(&link, "stdout", Start::Beginning).is_err());
}
