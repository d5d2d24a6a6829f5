//! The metrics page of a process, with a machine at work. Alone in its file: a process has one recorder.

use std::io;
use std::sync::mpsc::channel;
use std::time::Duration;

use proto_drive::telemetry::Metrics;
use proto_drive::{show_vitals, spawn};
use proto_machine::{Instant, Machine, Now, Outbox};

struct Echo;

impl Machine for Echo {
    type Input = u8;
    type Output = u8;
    fn step(&mut self, _: Now, input: u8, out: &mut Outbox<u8>) {
        out.push(input);
    }
    fn wake(&mut self, _: Now, _: &mut Outbox<u8>) {}
    fn wake_at(&self) -> Option<Instant> {
        None
    }
}

#[test]
fn the_page_says_what_the_machine_did() {
    let metrics = Metrics::install("master", "2").unwrap();
    assert!(Metrics::install("master", "2").is_err(), "a process has one");
    let (end, ended) = channel();
    let perform = |_: Now, _: Vec<u8>, _: &mut Vec<u8>| io::Result::Ok(());
    let handle = spawn("echo", Echo, perform, move |_| end.send(()).unwrap()).unwrap();
    for input in 0..10 {
        handle.send(input).unwrap();
    }
    drop(handle);
    ended.recv_timeout(Duration::from_secs(20)).unwrap();
    show_vitals(&std::env::temp_dir(), (1_760_000_000_500, 1_750_000_000_000));
    let page = metrics.render();
    let has = |line: &str| assert!(page.contains(line), "{line} is not in\n{page}");
    has("machine_inputs_total{role=\"master\",id=\"2\",machine=\"echo\"} 10");
    has("machine_batch_inputs_sum{role=\"master\",id=\"2\",machine=\"echo\"} 10");
    has("machine_perform_seconds_bucket{role=\"master\",id=\"2\",machine=\"echo\",le=\"+Inf\"}");
    has("process_start_time_seconds{role=\"master\",id=\"2\"}");
    has("process_resident_memory_bytes{");
    has("process_clock_seconds{");
    has("process_open_fds{");
    has("process_max_fds{");
    has("certificate_ends_seconds{role=\"master\",id=\"2\"} 1760000000.5");
    has("certificate_renews_seconds{role=\"master\",id=\"2\"} 1750000000");
    has("directory_bytes{");
    has("directory_free_bytes{");
}
