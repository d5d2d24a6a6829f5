//! The journal after every kind of end: killed at any byte, damaged, held by another.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::spec::{Command, JobSpec, Kind};
use crate::wire::TaskState;
use framework_sdk::id::{AgentId, FrameworkId, TaskId};
use framework_sdk::task::Exit;

/// A directory of its own, gone afterwards.
pub(super) struct Dir(pub(super) PathBuf);

impl Dir {
    pub(super) fn new() -> Dir {
        let dir = std::env::temp_dir().join(format!("stoa-jobs-{}", random_hex(8).unwrap()));
        fs::create_dir_all(&dir).unwrap();
        Dir(dir)
    }

    fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn spec(name: &str) -> Arc<JobSpec> {
    Arc::new(JobSpec::new(name, Kind::Service, Command::Shell("true".into())))
}

fn request(n: u32) -> String {
    format!("request-{n:08}")
}

fn stored(state: &State, name: &str, n: u32) -> Record {
    state.store_job(spec(name), &request(n), 1000 + u64::from(n), n.is_multiple_of(2))
}

fn instance(job: &str, number: u32, state: TaskState) -> Record {
    let instance = Instance {
        task: Some(TaskId::new(&format!("{job}.{number}-25")).unwrap()),
        state,
        agent: Some(AgentId::new("a1").unwrap()),
        hostname: "host".into(),
        agent_address: "127.0.0.1:5".into(),
        exit: Some(Exit::Signal(9)),
        message: "killed".into(),
        at_ms: 5,
        failures: 3,
        restarts: 4,
        not_before_ms: 6,
        last: true,
        made: 1,
        earlier: vec![Instance { state: TaskState::TaskRunning, ..Instance::waiting(number, 1) }],
        parts: vec![Part {
            name: "log".into(),
            task: TaskId::new(&format!("{job}.{number}-25.1")).unwrap(),
            state,
            exit: Some(Exit::Code(3)),
            message: "why".into(),
            at_ms: 4,
        }],
        decided: Some(TaskState::TaskFailed),
        ..Instance::waiting(number, 1)
    };
    Record::InstanceStored { job: job.to_owned(), instance }
}

/// Batches that use every kind of record.
fn history() -> Vec<Vec<Record>> {
    let state = State::default();
    vec![
        vec![
            Record::Framework(Some(FrameworkId::new("F1").unwrap())),
            Record::SerialsReserved { below: 1000 },
        ],
        vec![stored(&state, "web", 1), stored(&state, "etl", 2), stored(&state, "old", 3)],
        vec![instance("web", 0, TaskState::TaskRunning), instance("web", 1, TaskState::TaskFailed)],
        vec![
            Record::JobStopped { name: "etl".into(), purge: true },
            Record::JobForgotten { name: "old".into() },
        ],
        vec![
            Record::Remembered { key: "home/web.0".into(), value: Some("a1 x".into()) },
            Record::Remembered { key: "home/web.1".into(), value: Some("a1 x".into()) },
            Record::Remembered { key: "home/web.1".into(), value: None },
            Record::InstanceForgotten { job: "web".into(), number: 1 },
            instance("nobody", 1, TaskState::TaskRunning),
        ],
    ]
}

#[test]
fn what_was_appended_is_there_again() {
    let dir = Dir::new();
    let mut store = Store::open(&dir.0).unwrap();
    for batch in history() {
        store.append(batch).unwrap();
    }
    let before = store.state().clone();
    drop(store);
    let store = Store::open(&dir.0).unwrap();
    assert_eq!(store.state(), &before);
    assert_eq!(before.prefix.len(), 8);
    assert_eq!(before.jobs.keys().collect::<Vec<_>>(), ["etl", "web"]);
    assert!(before.jobs["etl"].stopped && before.jobs["etl"].purge);
    assert_eq!(before.jobs["web"].instances.len(), 1);
    assert_eq!(before.memory.keys().collect::<Vec<_>>(), ["home/web.0"]);
    assert_eq!(before.jobs["web"].instances[&0].exit, Some(Exit::Signal(9)));
    assert_eq!(before.jobs["web"].instances[&0].parts[0].exit, Some(Exit::Code(3)));
    assert_eq!(before.jobs["web"].instances[&0].decided, Some(TaskState::TaskFailed));
    assert_eq!(
        before.request(&request(1)).map(|(job, revision)| (job.spec.name.as_str(), revision)),
        Some(("web", 1))
    );
    assert_eq!(before.request(&request(3)), None, "forgotten with its job");
}

/// What kill -9 can leave of the last write: any beginning of it, or its length with other bytes.
#[test]
fn killed_at_any_byte_it_goes_on_with_what_was_synced() {
    let dir = Dir::new();
    let mut store = Store::open(&dir.0).unwrap();
    // (length of the file, state) after each sync.
    let mut synced = vec![(fs::metadata(dir.journal()).unwrap().len() as usize, store.state().clone())];
    for batch in history() {
        store.append(batch).unwrap();
        synced.push((fs::metadata(dir.journal()).unwrap().len() as usize, store.state().clone()));
    }
    drop(store);
    let content = fs::read(dir.journal()).unwrap();
    assert_eq!(content.len(), synced.last().unwrap().0);
    for cut in 8..=content.len() {
        let whole = synced.iter().rev().find(|(length, _)| *length <= cut);
        let torn = content.len().min(synced.iter().map(|(length, _)| *length).find(|l| *l >= cut).unwrap());
        let mut zeros = content[..cut].to_vec();
        zeros.resize(torn, 0);
        for left in [&content[..cut], &zeros] {
            fs::write(dir.journal(), left).unwrap();
            let mut store = Store::open(&dir.0).unwrap();
            match whole {
                Some((_, state)) => assert_eq!(store.state(), state, "cut at {cut}"),
                None => assert!(store.state().jobs.is_empty() && !store.state().prefix.is_empty()),
            }
            // It takes new records, and they are there the next time.
            store.append(vec![Record::SerialsReserved { below: 7777 }]).unwrap();
            drop(store);
            assert_eq!(Store::open(&dir.0).unwrap().state().serials_below, 7777, "cut at {cut}");
        }
    }
    for cut in 0..8 {
        fs::write(dir.journal(), &content[..cut]).unwrap();
        let told = Store::open(&dir.0).unwrap_err().to_string();
        assert!(told.contains("is not a journal"), "{told}");
    }
}

#[test]
fn damage_before_the_end_is_never_skipped() {
    let dir = Dir::new();
    let mut store = Store::open(&dir.0).unwrap();
    let mut last = 0;
    for batch in history() {
        last = fs::metadata(dir.journal()).unwrap().len() as usize;
        store.append(batch).unwrap();
    }
    drop(store);
    let content = fs::read(dir.journal()).unwrap();
    for at in 8..last {
        for bit in [0x01, 0x80] {
            let mut damaged = content.clone();
            damaged[at] ^= bit;
            fs::write(dir.journal(), damaged).unwrap();
            let told = Store::open(&dir.0).unwrap_err().to_string();
            assert!(told.contains("is damaged at byte") && told.contains("backup"), "byte {at}: {told}");
        }
    }
    // A frame that is good but stands in another place is not good.
    let moved = [&content[..last], &content[8..]].concat();
    fs::write(dir.journal(), moved).unwrap();
    let state = Store::open(&dir.0).unwrap().state().clone();
    assert!(state.jobs.contains_key("web"), "the copies were cut off as torn");
}

#[test]
fn a_second_instance_is_refused() {
    let dir = Dir::new();
    let store = Store::open(&dir.0).unwrap();
    let told = Store::open(&dir.0).unwrap_err().to_string();
    assert!(told.contains("in use by another process"), "{told}");
    drop(store);
    assert!(Store::open(&dir.0).is_ok());
}

#[test]
fn rewriting_keeps_the_state_and_loses_the_past() {
    let dir = Dir::new();
    let mut store = Store::open(&dir.0).unwrap();
    for batch in history() {
        store.append(batch).unwrap();
    }
    let before = fs::metadata(dir.journal()).unwrap().len();
    store.compact().unwrap();
    assert!(fs::metadata(dir.journal()).unwrap().len() < before);
    store.append(vec![Record::SerialsReserved { below: 2000 }]).unwrap();
    let state = store.state().clone();
    drop(store);
    // A rewrite that was killed before the rename leaves its beginning behind.
    fs::write(dir.0.join("journal.new"), b"stoajo").unwrap();
    assert_eq!(Store::open(&dir.0).unwrap().state(), &state);
    assert!(!dir.0.join("journal.new").exists());
}

#[test]
fn the_journal_stays_in_proportion_to_what_it_says() {
    let dir = Dir::new();
    let mut store = Store::open(&dir.0).unwrap();
    store.append(history().into_iter().flatten().collect()).unwrap();
    let mut largest = 0;
    for _ in 0..60 {
        let news = (0..1000).map(|_| instance("web", 0, TaskState::TaskRunning)).collect();
        store.append(news).unwrap();
        largest = largest.max(fs::metadata(dir.journal()).unwrap().len());
    }
    assert!((COMPACT_BYTES_MIN / 2..COMPACT_BYTES_MIN + 200_000).contains(&largest), "{largest}");
    let state = store.state().clone();
    drop(store);
    assert_eq!(Store::open(&dir.0).unwrap().state(), &state);
}

#[test]
fn a_later_layout_and_nonsense_are_refused() {
    let dir = Dir::new();
    let mut store = Store::open(&dir.0).unwrap();
    store.append(vec![Record::Header { format: FORMAT + 1, prefix: "x".into() }]).unwrap();
    drop(store);
    assert!(matches!(Store::open(&dir.0), Err(StoreError::Newer { found, .. }) if found == FORMAT + 1));

    let dir = Dir::new();
    let (mut journal, _) = Journal::<wire::journal::Record>::open(&dir.0).unwrap();
    journal.append(&[wire::journal::Record { kind: None }]).unwrap();
    drop(journal);
    assert!(matches!(Store::open(&dir.0), Err(StoreError::Record { number: 1, .. })));
}

#[test]
fn a_journal_of_the_first_layout_is_taken_up_once() {
    let dir = Dir::new();
    let (mut journal, _) = Journal::<wire::journal::Record>::open(&dir.0).unwrap();
    let batch =
        Arc::new(JobSpec { retries: 5, ..JobSpec::new("etl", Kind::Batch, Command::Shell("true".into())) });
    let stored = State::default().store_job(batch, &request(1), 5, false);
    let header = Record::Header { format: 1, prefix: "x".into() };
    let records = [header, stored, instance("etl", 0, TaskState::TaskStaging)];
    journal.append(&records.each_ref().map(Record::to_wire)).unwrap();
    drop(journal);
    let mut store = Store::open(&dir.0).unwrap();
    let taken_up = store.state().jobs["etl"].instances[&0].clone();
    assert_eq!((taken_up.retries, taken_up.made), (3, 1));
    // From now on they are counted apart.
    let more = Instance { failures: 9, ..taken_up };
    store.append(vec![Record::InstanceStored { job: "etl".into(), instance: more }]).unwrap();
    drop(store);
    let store = Store::open(&dir.0).unwrap();
    assert_eq!(store.state().jobs["etl"].instances[&0].retries, 3);
}

#[test]
fn a_repeated_request_is_known_and_a_changed_job_is_a_new_revision() {
    let mut state = State::default();
    let record = stored(&state, "web", 1);
    state.apply(record);
    let record = stored(&state, "web", 2);
    state.apply(record);
    assert_eq!(state.jobs["web"].revision, 1, "the same spec");
    assert_eq!(state.jobs["web"].created_ms, 1001);
    let mut changed = JobSpec::clone(&spec("web"));
    changed.instances = 2;
    let record = state.store_job(Arc::new(changed), &request(3), 9, false);
    state.apply(record);
    assert_eq!(state.jobs["web"].revision, 2);
    let revision = |n| state.request(&request(n)).map(|(_, revision)| revision);
    assert_eq!((revision(1), revision(2), revision(3), revision(4)), (Some(1), Some(1), Some(2), None));
    state.apply(Record::JobStopped { name: "web".into(), purge: false });
    assert!(state.jobs["web"].stopped);
    let spec = state.jobs["web"].spec.clone();
    for n in 4..40 {
        let record = state.store_job(spec.clone(), &request(n), 9, false);
        state.apply(record);
    }
    assert_eq!((state.jobs["web"].stopped, state.jobs["web"].revision), (false, 3), "it runs again");
    assert_eq!((state.request(&request(3)), state.jobs["web"].requests.len()), (None, 16));
    let mut again = State::default();
    state.image(FORMAT).into_iter().for_each(|record| again.apply(record));
    assert_eq!(again, state);
}

#[tokio::test]
async fn commits_of_many_are_answered_and_kept() {
    let dir = Dir::new();
    let writer = Writer::start(Store::open(&dir.0).unwrap()).unwrap();
    let state = State::default();
    let mut answers = vec![writer.commit(vec![stored(&state, "web", 1)]).unwrap()];
    for number in 0..200 {
        answers.push(writer.commit(vec![instance("web", number, TaskState::TaskRunning)]).unwrap());
    }
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    let store = writer.stop().unwrap();
    assert_eq!(store.state().jobs["web"].instances.len(), 200);
    let state = store.state().clone();
    drop(store);
    assert_eq!(Store::open(&dir.0).unwrap().state(), &state);
}

#[tokio::test]
async fn after_an_error_nothing_is_called_durable() {
    let dir = Dir::new();
    let writer = Writer::start(Store::open(&dir.0).unwrap()).unwrap();
    // A record that no frame can hold fails before the disk is touched; the writer does not go on as if it had not been.
    let huge = Record::JobForgotten { name: "x".repeat(9 << 20) };
    let answer = writer.commit(vec![huge]).unwrap().await.unwrap();
    assert!(answer.unwrap_err().to_string().contains("too large"));
    match writer.commit(vec![Record::SerialsReserved { below: 1 }]) {
        Err(Stopped) => {}
        Ok(answer) => assert!(answer.await.is_err(), "never answered as done"),
    }
    drop(writer);
    assert_eq!(Store::open(&dir.0).unwrap().state().serials_below, 0);
}

#[test]
fn two_jobs_of_one_request_are_the_same_after_their_journal_was_rewritten() {
    // Nobody of us writes such a journal.
    let mut state = State::default();
    let store = |state: &mut State, name: &str, requests: &[u32]| {
        let mut record = state.store_job(spec(name), &request(1), 9, false);
        if let Record::JobStored { requests: kept, .. } = &mut record {
            *kept = requests.iter().map(|n| (request(*n), 1)).collect();
        }
        state.apply(record);
    };
    store(&mut state, "web", &[1]);
    store(&mut state, "api", &[1]);
    store(&mut state, "web", &[2]);
    let of = |state: &State, n| state.request(&request(n)).map(|(job, _)| job.spec.name.clone());
    assert_eq!((of(&state, 1), of(&state, 2)), (Some("api".into()), Some("web".into())));
    let mut again = State::default();
    state.image(FORMAT).into_iter().for_each(|record| again.apply(record));
    assert_eq!(again, state);
}

#[test]
fn a_journal_that_is_rewritten_keeps_until_when_a_job_was_dealt_with() {
    // Found by the fuzzer: the second of two jobs of one name was created later than the first.
    let mut state = State::default();
    let store = |state: &mut State, name: &str, created: u64| {
        let mut record = state.store_job(spec(name), &request(1), 9, false);
        if let Record::JobStored { created_ms, .. } = &mut record {
            *created_ms = created;
        }
        state.apply(record);
    };
    store(&mut state, "web", 1);
    store(&mut state, "web", 5);
    assert_eq!(state.jobs["web"].handled_ms, 5);
    // A service by now, and what it has dealt with is from the time when it was a cron job.
    store(&mut state, "api", 5);
    state.apply(Record::CronHandled { name: "api".into(), until_ms: 7 });
    let mut again = State::default();
    state.image(FORMAT).into_iter().for_each(|record| again.apply(record));
    assert_eq!(again, state);
}
