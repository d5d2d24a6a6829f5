//! Checks of tasks by the whole agent: a server that answers, one that does not, a command, and what follows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use proto::agent_link::TaskRun;
use proto::check::{Check, CheckPort};
use proto::id::RunId;
use proto::quantities::Quantities;
use proto::ranges::Ranges;
use proto::resources::{Amount, Resources};
use proto::task::{StatusReason, TaskState, TaskStatus};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tonic::service::Routes;

use super::master::{Master, Session, script};
use super::node::{Node, open_to_tasks};

/// As often as may be, from the start.
fn often(check: Check) -> Check {
    check.delay(Duration::ZERO).grace(Duration::ZERO).interval(Check::INTERVAL_MIN)
}

/// A task that has this port.
fn with_port(port: u16, mut given: TaskRun) -> TaskRun {
    let ports = Ranges::single(u64::from(port), u64::from(port));
    given.task.resources =
        Resources::unreserved(Amount::scalars(Quantities::of(50, 32 << 20)).with_ports(ports));
    given
}

/// A server in place of the task's own, which answers with this status.
async fn server(status: Arc<AtomicU16>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let status = status.load(Ordering::Relaxed);
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let found = request.starts_with(b"GET /healthz?full=1 HTTP/1.1\r\n");
                let status = if found { status } else { 404 };
                let answer = format!("HTTP/1.1 {status} So\r\ncontent-length: 2\r\n\r\nok");
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    port
}

/// The next status of which this is true; all are acknowledged.
async fn until(session: &mut Session, holds: impl Fn(&TaskStatus) -> bool) -> TaskStatus {
    loop {
        let status = session.acknowledged().await;
        if holds(&status) {
            return status;
        }
        assert!(!status.state.is_terminal(), "{status:?}");
    }
}

#[tokio::test]
async fn a_server_is_well_while_it_answers_so_and_ended_when_it_does_not() {
    let node = Node::new();
    let mut master = Master::open(&node.ca, 1, Routes::default()).await;
    let running = node.start(&[&master.address]).await;
    let (mut session, _) = master.admit().await;
    let status = Arc::new(AtomicU16::new(204));
    let port = server(status.clone()).await;
    let mut given = with_port(port, script(1, "exec sleep 3600"));
    let path = "/healthz?full=1";
    given.task.checks.health = Some(often(Check::http(path, CheckPort::Index(0))).failures(5));
    given.task.checks.readiness = Some(often(Check::tcp(CheckPort::Number(port))));
    let first = session.start(given).await;
    assert_eq!((first.healthy, first.ready), (None, Some(false)), "{first:?}");
    let well = until(&mut session, |status| status.healthy == Some(true) && status.ready == Some(true)).await;
    assert_eq!((well.state, well.reason), (TaskState::Running, StatusReason::CheckChanged));
    status.store(503, Ordering::Relaxed);
    let sick = until(&mut session, |status| status.healthy == Some(false)).await;
    let why = format!("GET {path} on port {port}: status 503");
    assert!(sick.message.contains(&why), "{sick:?}");
    status.store(302, Ordering::Relaxed);
    until(&mut session, |status| status.healthy == Some(true)).await;
    status.store(500, Ordering::Relaxed);
    let end = session.until_over(&[RunId::at(1, 0)]).await[&RunId::at(1, 0)].last().unwrap().clone();
    assert_eq!((end.state, end.reason), (TaskState::Failed, StatusReason::Unhealthy), "{end:?}");
    assert!(end.message.contains("status 500"), "{end:?}");
    running.stop().await;
}

#[tokio::test]
async fn a_server_is_asked_by_https_whoever_made_its_certificate() {
    let node = Node::new();
    let mut master = Master::open(&node.ca, 1, Routes::default()).await;
    let running = node.start(&[&master.address]).await;
    let (mut session, _) = master.admit().await;
    let made = rcgen::generate_simple_self_signed(vec!["somebody.else".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let (acceptor, listener) =
        (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // One that does not speak TLS is let go.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let mut given = with_port(port, script(1, "exec sleep 3600"));
    given.task.checks.readiness = Some(often(Check::https("/", CheckPort::Index(0))));
    given.task.checks.health = Some(often(Check::http("/", CheckPort::Index(0))).failures(1000));
    session.start(given).await;
    let both = |status: &TaskStatus| status.ready == Some(true) && status.healthy == Some(false);
    until(&mut session, both).await;
    session.kill(RunId::at(1, 0), Duration::ZERO);
    session.until_over(&[RunId::at(1, 0)]).await;
    running.stop().await;
}

#[tokio::test]
async fn what_does_not_answer_in_time_has_failed() {
    let node = Node::new();
    let mut master = Master::open(&node.ca, 1, Routes::default()).await;
    let running = node.start(&[&master.address]).await;
    let (mut session, _) = master.admit().await;
    // Connections open, and then nobody says anything.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut given = with_port(port, script(1, "exec sleep 3600"));
    let check = often(Check::http("/", CheckPort::Index(0))).timeout(Duration::from_millis(50)).failures(1);
    given.task.checks.health = Some(check.clone());
    let mut nobody = with_port(port, script(2, "exec sleep 3600"));
    nobody.task.checks.health =
        Some(often(Check::shell("sleep 3600")).timeout(Duration::from_millis(50)).failures(1));
    session.launch(vec![given, nobody]);
    let seen = session.until_over(&[RunId::at(1, 0), RunId::at(2, 0)]).await;
    let end = |number| seen[&RunId::at(number, 0)].last().unwrap().clone();
    assert!(end(1).message.contains("no answer within 50ms"), "{:?}", end(1));
    assert!(end(2).message.contains("did not end within 50ms and was killed"), "{:?}", end(2));
    drop(silent);
    let mut refused = with_port(port, script(3, "exec sleep 3600"));
    refused.task.checks.health = Some(often(Check::tcp(CheckPort::Index(0))).failures(1));
    session.launch(vec![refused]);
    let seen = session.until_over(&[RunId::at(3, 0)]).await;
    let end = seen[&RunId::at(3, 0)].last().unwrap().clone();
    assert!(end.message.contains(&format!("connecting to port {port}: Connection refused")), "{end:?}");
    running.stop().await;
}

#[tokio::test]
async fn a_command_sees_what_its_task_sees_and_goes_on_after_a_restart_of_the_agent() {
    let node = Node::new();
    let mut master = Master::open(&node.ca, 1, Routes::default()).await;
    let running = node.start(&[&master.address]).await;
    let (mut session, _) = master.admit().await;
    let switch = node.dir().join("switch");
    std::fs::write(&switch, "off").unwrap();
    open_to_tasks(&switch);
    let mut given = script(1, "echo $$ > pid; exec sleep 3600");
    let check = format!(
        "read pid < pid && [ -d /proc/$pid ] && [ \"$STOA_TASK_ID\" = t.1 ] || {{ echo lost; exit 2; }}; \
         read now < {0}; [ \"$now\" = on ] || {{ echo it is $now >&2; exit 3; }}",
        switch.display()
    );
    std::fs::write(&switch, "off\n").unwrap();
    given.task.checks.health = Some(often(Check::shell(check)).failures(1000));
    session.start(given).await;
    let sick = until(&mut session, |status| status.healthy == Some(false)).await;
    assert!(sick.message.contains("the command exited with code 3: it is off"), "{sick:?}");
    running.stop().await;
    let running = node.start(&[&master.address]).await;
    let (mut session, _) = master.admit().await;
    std::fs::write(&switch, "on\n").unwrap();
    let well = until(&mut session, |status| status.healthy == Some(true)).await;
    assert_eq!(well.state, TaskState::Running);
    session.kill(RunId::at(1, 0), Duration::ZERO);
    session.until_over(&[RunId::at(1, 0)]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_task_that_runs_too_long_is_ended() {
    let node = Node::new();
    let mut master = Master::open(&node.ca, 1, Routes::default()).await;
    let running = node.start(&[&master.address]).await;
    let (mut session, _) = master.admit().await;
    let mut given = script(1, "trap 'exit 9' TERM; while :; do sleep 0.01; done");
    given.task.longest_run = Some(Duration::from_millis(200));
    session.launch(vec![given]);
    let seen = session.until_over(&[RunId::at(1, 0)]).await;
    let end = seen[&RunId::at(1, 0)].last().unwrap().clone();
    assert_eq!((end.state, end.reason), (TaskState::Failed, StatusReason::TimeLimit), "{end:?}");
    assert_eq!(end.message, "it ran for longer than 200ms; the command exited with code 9");
    running.stop().await;
}
