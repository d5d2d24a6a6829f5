//! A machine on its thread: batches, deadlines, feeding, faults and back-pressure.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use proto_drive::{Closed, Ended, Handle, QUEUE_HIGH_WATER, spawn};
use proto_machine::{Haste, Instant, Machine, Now, Outbox};

/// Long enough that only a hang takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, PartialEq)]
enum Heard {
    Say(u32),
    Stored(u32),
    Woken,
    Settled,
}

/// Repeats what it hears; wakes a while after it was asked to.
#[derive(Default)]
struct Parrot {
    wake_at: Option<Instant>,
    panics_at: Option<u32>,
    gathers_for: Duration,
}

#[derive(Debug)]
enum Say {
    Word(u32),
    Stored(u32),
    WakeIn(Duration),
    Whisper(u32),
    Aside(u32),
}

impl Machine for Parrot {
    type Input = Say;
    type Output = Heard;
    fn step(&mut self, now: Now, input: Say, out: &mut Outbox<Heard>) {
        match input {
            Say::Word(word) => {
                assert_ne!(self.panics_at, Some(word), "as the test wants it");
                out.push(Heard::Say(word));
            }
            Say::Stored(word) => out.push(Heard::Stored(word)),
            Say::Whisper(word) | Say::Aside(word) => out.push(Heard::Say(word)),
            Say::WakeIn(delay) => self.wake_at = Some(now.monotonic + delay),
        }
    }
    fn wake(&mut self, now: Now, out: &mut Outbox<Heard>) {
        assert!(self.wake_at.take().is_some_and(|at| at <= now.monotonic));
        out.push(Heard::Woken);
    }
    fn settle(&mut self, _: Now, out: &mut Outbox<Heard>) {
        if !out.is_empty() {
            out.push(Heard::Settled);
        }
    }
    fn wake_at(&self) -> Option<Instant> {
        self.wake_at
    }
    fn haste(input: &Say) -> Haste {
        match input {
            Say::Whisper(_) => Haste::Waits,
            Say::Aside(_) => Haste::Overtakes,
            Say::Word(_) | Say::Stored(_) | Say::WakeIn(_) => Haste::Now,
        }
    }
    fn gathers_for(&self, _: Instant) -> Duration {
        self.gathers_for
    }
}

type Batches = Receiver<Vec<Heard>>;

/// A parrot whose performer waits for leave before each batch.
fn gated() -> (Handle<Say>, Batches, Sender<()>, Receiver<Ended<io::Error>>) {
    gated_parrot(Parrot::default())
}

fn gated_parrot(parrot: Parrot) -> (Handle<Say>, Batches, Sender<()>, Receiver<Ended<io::Error>>) {
    let (heard, batches) = channel();
    let (leave, gate) = channel::<()>();
    let (end, ended) = channel();
    let perform = move |_: Now, outputs: Vec<Heard>, feed: &mut Vec<Say>| {
        feed.extend(outputs.iter().filter_map(|output| match output {
            Heard::Say(word) if *word >= 100 => Some(Say::Stored(*word)),
            _ => None,
        }));
        let fatal = outputs.contains(&Heard::Say(13));
        heard.send(outputs).map_err(io::Error::other)?;
        gate.recv().map_err(io::Error::other)?;
        if fatal { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
    };
    let handle = spawn("parrot", parrot, perform, move |why| drop(end.send(why))).unwrap();
    (handle, batches, leave, ended)
}

#[test]
fn what_came_during_a_batch_is_the_next_batch_and_settles_once() {
    let (handle, batches, leave, ended) = gated();
    handle.send(Say::Word(1)).unwrap();
    assert_eq!(batches.recv_timeout(PATIENCE).unwrap(), [Heard::Say(1), Heard::Settled]);
    for word in 2..=4 {
        handle.send(Say::Word(word)).unwrap();
    }
    leave.send(()).unwrap();
    let second = batches.recv_timeout(PATIENCE).unwrap();
    assert_eq!(second, [Heard::Say(2), Heard::Say(3), Heard::Say(4), Heard::Settled]);
    leave.send(()).unwrap();
    drop(handle);
    assert!(matches!(ended.recv_timeout(PATIENCE), Ok(Ended::Closed)));
}

#[test]
fn what_can_wait_is_gathered_until_something_cannot() {
    // For ever, as far as this test can tell.
    let (handle, batches, leave, _ended) =
        gated_parrot(Parrot { gathers_for: 100 * PATIENCE, ..Parrot::default() });
    for word in 1..=3 {
        handle.send(Say::Whisper(word)).unwrap();
    }
    handle.send(Say::Word(4)).unwrap();
    let all = [Heard::Say(1), Heard::Say(2), Heard::Say(3), Heard::Say(4), Heard::Settled];
    assert_eq!(batches.recv_timeout(PATIENCE).unwrap(), all);
    handle.send(Say::Word(5)).unwrap();
    handle.send(Say::Whisper(6)).unwrap();
    leave.send(()).unwrap();
    let both = [Heard::Say(5), Heard::Say(6), Heard::Settled];
    assert_eq!(batches.recv_timeout(PATIENCE).unwrap(), both);
    handle.send(Say::Whisper(7)).unwrap();
    leave.send(()).unwrap();
    drop(handle);
    assert_eq!(
        batches.recv_timeout(PATIENCE).unwrap(),
        [Heard::Say(7), Heard::Settled],
        "nor for what never comes"
    );
    leave.send(()).unwrap();
}

#[test]
fn what_overtakes_is_taken_alone_and_gathering_goes_on() {
    let (handle, batches, leave, _ended) =
        gated_parrot(Parrot { gathers_for: 100 * PATIENCE, ..Parrot::default() });
    handle.send(Say::Whisper(1)).unwrap();
    handle.send(Say::Aside(2)).unwrap();
    assert_eq!(batches.recv_timeout(PATIENCE).unwrap(), [Heard::Say(2), Heard::Settled]);
    handle.send(Say::Aside(3)).unwrap();
    handle.send(Say::Whisper(4)).unwrap();
    leave.send(()).unwrap();
    assert_eq!(batches.recv_timeout(PATIENCE).unwrap(), [Heard::Say(3), Heard::Settled]);
    handle.send(Say::Aside(5)).unwrap();
    handle.send(Say::Word(6)).unwrap();
    leave.send(()).unwrap();
    let rest = [Heard::Say(5), Heard::Say(1), Heard::Say(4), Heard::Say(6), Heard::Settled];
    assert_eq!(batches.recv_timeout(PATIENCE).unwrap(), rest);
    leave.send(()).unwrap();
}

#[test]
fn gathering_ends_with_its_time_and_in_time_for_a_deadline() {
    let gathers_for = Duration::from_millis(5);
    let (handle, batches, leave, _ended) = gated_parrot(Parrot { gathers_for, ..Parrot::default() });
    handle.send(Say::Whisper(1)).unwrap();
    assert_eq!(batches.recv_timeout(PATIENCE).unwrap(), [Heard::Say(1), Heard::Settled]);
    leave.send(()).unwrap();
    let wake_at = Some(Instant::from_nanos(1));
    let (handle, batches, leave, _ended) =
        gated_parrot(Parrot { gathers_for: 100 * PATIENCE, wake_at, ..Parrot::default() });
    handle.send(Say::Whisper(1)).unwrap();
    let mut heard = Vec::new();
    while !heard.contains(&Heard::Woken) {
        heard.extend(batches.recv_timeout(PATIENCE).unwrap());
        leave.send(()).unwrap();
    }
}

#[test]
fn what_is_fed_back_goes_before_what_waits() {
    let (handle, batches, leave, _ended) = gated();
    handle.send(Say::Word(100)).unwrap();
    batches.recv_timeout(PATIENCE).unwrap();
    handle.send(Say::Word(5)).unwrap();
    leave.send(()).unwrap();
    let second = batches.recv_timeout(PATIENCE).unwrap();
    assert_eq!(second, [Heard::Stored(100), Heard::Say(5), Heard::Settled]);
    leave.send(()).unwrap();
}

#[test]
fn a_deadline_wakes_a_machine_that_hears_nothing() {
    let (handle, batches, leave, _ended) = gated();
    handle.send(Say::WakeIn(Duration::from_millis(5))).unwrap();
    assert_eq!(batches.recv_timeout(PATIENCE).unwrap(), [Heard::Woken, Heard::Settled]);
    leave.send(()).unwrap();
}

#[test]
fn a_fault_of_the_performer_ends_the_machine_and_is_told() {
    let (handle, batches, leave, ended) = gated();
    handle.send(Say::Word(13)).unwrap();
    batches.recv_timeout(PATIENCE).unwrap();
    leave.send(()).unwrap();
    match ended.recv_timeout(PATIENCE).unwrap() {
        Ended::Failed(fault) => assert_eq!(fault.to_string(), "the disk is gone"),
        other => panic!("{other:?}"),
    }
    assert_eq!(handle.send(Say::Word(1)), Err(Closed));
}

#[test]
fn a_panic_ends_the_machine_and_is_told() {
    let (end, ended) = channel();
    let perform = |_: Now, _: Vec<Heard>, _: &mut Vec<Say>| io::Result::Ok(());
    let machine = Parrot { panics_at: Some(7), ..Parrot::default() };
    let handle = spawn("clumsy", machine, perform, move |why| drop(end.send(why))).unwrap();
    handle.send(Say::Word(7)).unwrap();
    assert!(matches!(ended.recv_timeout(PATIENCE), Ok(Ended::Panicked)));
    assert_eq!(handle.send(Say::Word(1)), Err(Closed));
}

#[test]
fn closing_does_what_is_queued_first() {
    let (handle, batches, leave, ended) = gated();
    handle.send(Say::Word(1)).unwrap();
    batches.recv_timeout(PATIENCE).unwrap();
    handle.send(Say::Word(2)).unwrap();
    handle.close();
    assert_eq!(handle.send(Say::Word(3)), Err(Closed));
    leave.send(()).unwrap();
    assert_eq!(batches.recv_timeout(PATIENCE).unwrap(), [Heard::Say(2), Heard::Settled]);
    leave.send(()).unwrap();
    assert!(matches!(ended.recv_timeout(PATIENCE), Ok(Ended::Closed)));
}

#[tokio::test]
async fn senders_wait_above_the_mark_and_go_on_below_it() {
    let (handle, batches, leave, _ended) = gated();
    handle.send(Say::Word(0)).unwrap();
    batches.recv_timeout(PATIENCE).unwrap();
    // The performer waits for leave: everything below stays queued.
    for _ in 0..QUEUE_HIGH_WATER {
        handle.send_async(Say::Word(1)).await.unwrap();
    }
    let late = tokio::spawn({
        let handle = handle.clone();
        async move { handle.send_async(Say::Word(2)).await }
    });
    tokio::task::yield_now().await;
    assert!(!late.is_finished(), "there is no room");
    assert_eq!(handle.queued(), QUEUE_HIGH_WATER);
    // Each batch takes 1,024; the last word arrives when the waiting one was let in.
    tokio::task::spawn_blocking(move || {
        loop {
            leave.send(()).unwrap();
            let batch = batches.recv_timeout(PATIENCE).unwrap();
            assert!(batch.len() <= 1025, "{}", batch.len());
            if batch.contains(&Heard::Say(2)) {
                return;
            }
        }
    })
    .await
    .unwrap();
    late.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_waiting_sender_learns_that_the_machine_is_gone() {
    let (handle, batches, leave, ended) = gated();
    handle.send(Say::Word(13)).unwrap();
    batches.recv_timeout(PATIENCE).unwrap();
    for _ in 0..QUEUE_HIGH_WATER {
        handle.send(Say::Word(1)).unwrap();
    }
    let late = tokio::spawn({
        let handle = handle.clone();
        async move { handle.send_async(Say::Word(2)).await }
    });
    tokio::task::yield_now().await;
    leave.send(()).unwrap();
    assert_eq!(late.await.unwrap(), Err(Closed));
    assert!(matches!(ended.recv_timeout(PATIENCE), Ok(Ended::Failed(_))));
}
