//! Artifacts: from files and servers into sandboxes, and everything that must not work.

mod rig;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use agent_containerizer::{Artifact, How, Launch, StartFailure};
use rig::{Rig, Scratch, launch};

const PROGRAM: &str = "#!/bin/sh\necho fetched\n";

fn artifact(uri: impl Into<String>) -> Artifact {
    Artifact { uri: uri.into(), sha256: None, executable: false, name: None }
}

fn with(artifact: Artifact) -> Launch {
    Launch { artifacts: vec![artifact], ..launch(&["true"]) }
}

async fn why(rig: &mut Rig, artifact: Artifact) -> String {
    let id = rig.launch(with(artifact));
    match rig.end(id).await {
        Err(StartFailure::Artifact { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

/// A rig whose artifacts may come from its directory `files`.
async fn rig_with_files(name: &str) -> (Rig, PathBuf) {
    let mut scratch = Scratch::new(name);
    let files = scratch.dir.join("files");
    fs::create_dir(&files).expect("directory");
    scratch.config.artifact_roots = vec![files.clone()];
    scratch.config.artifact_bytes_max = 100_000;
    (Rig::of(scratch).await, files)
}

fn sha256(file: &std::path::Path) -> String {
    let out = std::process::Command::new("sha256sum").arg(file).output().expect("sha256sum");
    String::from_utf8_lossy(&out.stdout).split(' ').next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_brought_checked_and_run() {
    let (mut rig, files) = rig_with_files("file").await;
    fs::write(files.join("tool"), PROGRAM).expect("file");
    let user = rig.has("users").then(|| "nobody".to_owned());
    for sha in [sha256(&files.join("tool")), sha256(&files.join("tool")).to_uppercase()] {
        let tool = Artifact {
            sha256: Some(sha),
            executable: true,
            ..artifact(format!("file://{}/tool", files.display()))
        };
        let launch = Launch { artifacts: vec![tool], user: user.clone(), ..launch(&["./tool"]) };
        let sandbox = rig.sandbox(&launch);
        let id = rig.launch(launch);
        assert_eq!(rig.how(id).await, How::Code(0));
        assert_eq!(fs::read_to_string(sandbox.join("stdout")).expect("stdout"), "fetched\n");
        let found = fs::metadata(sandbox.join("tool")).expect("tool");
        let owner = fs::metadata(&sandbox).expect("sandbox").uid();
        assert_eq!((found.permissions().mode() & 0o777, found.uid()), (0o755, owner));
        let names: Vec<_> =
            fs::read_dir(&sandbox).expect("sandbox").flatten().map(|e| e.file_name()).collect();
        assert_eq!(names.len(), 2, "nothing unfinished is left: {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_called_as_the_task_calls_it_and_stays_in_the_sandbox() {
    let (mut rig, files) = rig_with_files("name").await;
    fs::write(files.join("v1.2-linux"), PROGRAM).expect("file");
    let uri = format!("file://{}/v1.2-linux", files.display());
    let named = |name: &str| Artifact { executable: true, name: Some(name.into()), ..artifact(&uri) };
    let tool = Launch { artifacts: vec![named("tool")], ..launch(&["./tool"]) };
    let sandbox = rig.sandbox(&tool);
    let id = rig.launch(tool);
    assert_eq!(rig.how(id).await, How::Code(0));
    assert_eq!(fs::read_to_string(sandbox.join("stdout")).expect("stdout"), "fetched\n");
    assert!(!sandbox.join("v1.2-linux").exists());
    for name in ["../tool", "/tmp/tool", "a/b", "..", "stdout"] {
        let no = why(&mut rig, named(name)).await;
        assert!(no.contains("cannot be the name of a file in a sandbox"), "{name}: {no}");
    }
    let mut rig = Rig::new("no-files").await;
    let no = why(&mut rig, artifact(&uri)).await;
    assert!(no.contains("--artifact-root"), "{no}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_from_the_named_directories_only() {
    let (mut rig, files) = rig_with_files("escape").await;
    fs::write(rig.scratch.dir.join("secret"), "secret").expect("file");
    symlink(rig.scratch.dir.join("secret"), files.join("link")).expect("link");
    fs::create_dir(files.join("dir")).expect("directory");
    let root = files.display();
    let outside =
        format!("files may only come from {root}; start the agent with another --artifact-root DIR as well");
    assert_eq!(why(&mut rig, artifact("file:///etc/passwd")).await, outside);
    let beside = format!("file://{}/secret", rig.scratch.dir.display());
    assert_eq!(why(&mut rig, artifact(beside)).await, outside);
    let no = why(&mut rig, artifact(format!("file://{root}/../secret"))).await;
    assert!(no.contains("cross-device"), "{no}");
    let no = why(&mut rig, artifact(format!("file://{root}/link"))).await;
    assert!(no.contains("cross-device"), "{no}");
    assert_eq!(why(&mut rig, artifact(format!("file://{root}/dir"))).await, "not a plain file");
    assert!(why(&mut rig, artifact(format!("file://{root}/none"))).await.contains("No such file"));
    assert!(why(&mut rig, artifact(format!("file://other{root}/x"))).await.contains("names no other host"));
    assert!(why(&mut rig, artifact("ftp://host/x")).await.contains("unknown scheme \"ftp\""));
    assert!(why(&mut rig, artifact(format!("file://{root}/stdout"))).await.contains("cannot be the name"));
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_not_what_was_asked_for_is_refused() {
    let (mut rig, files) = rig_with_files("content").await;
    fs::write(files.join("tool"), PROGRAM).expect("file");
    fs::write(files.join("large"), vec![0; 100_001]).expect("file");
    let root = files.display();
    let other = Artifact { sha256: Some("00".repeat(32)), ..artifact(format!("file://{root}/tool")) };
    let no = why(&mut rig, other).await;
    assert!(no.starts_with("its SHA-256 is ") && no.contains(", not "), "{no}");
    assert_eq!(why(&mut rig, artifact(format!("file://{root}/large"))).await, "larger than 100000 bytes");
}

/// What a server does with a connection whose request line is given.
type Answer = fn(&str, &mut dyn Write);

/// A server on a port of its own, until the test ends; the request lines it has seen.
fn serve(answer: Answer) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("port");
    let address = listener.local_addr().expect("address");
    let (seen_in, seen) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let line = request_line(&mut &stream);
            let _ = seen_in.send(line.clone());
            answer(&line, &mut &stream);
        }
    });
    (address, seen)
}

/// Reads a request to its end.
fn request_line(stream: &mut dyn Read) -> String {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    lines.find(String::is_empty);
    first
}

fn reply(out: &mut dyn Write, status: &str, headers: &str, body: &[u8]) {
    let _ = write!(out, "HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n");
    let _ = out.write_all(body);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_is_fetched_over_http() {
    let (mut rig, _) = rig_with_files("http").await;
    let (address, _) = serve(|line, out| {
        if line.contains(" /moved/tool ") {
            reply(out, "302 Found", "Location: /real/other-name\r\nContent-Length: 0\r\n", b"");
        } else {
            reply(out, "200 OK", &format!("Content-Length: {}\r\n", PROGRAM.len()), PROGRAM.as_bytes());
        }
    });
    for path in ["a/tool?version=1#x", "moved/tool"] {
        let tool = Artifact { executable: true, ..artifact(format!("http://{address}/{path}")) };
        let launch = Launch { artifacts: vec![tool], ..launch(&["./tool"]) };
        let id = rig.launch(launch);
        assert_eq!(rig.how(id).await, How::Code(0), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_is_a_reason() {
    let (mut rig, _) = rig_with_files("http-bad").await;
    let (address, seen) = serve(|line, out| match line.split(' ').nth(1).unwrap_or_default() {
        "/none" => reply(out, "404 Not Found", "Content-Length: 0\r\n", b""),
        "/busy" => reply(out, "503 Service Unavailable", "Content-Length: 0\r\n", b""),
        "/short" => reply(out, "200 OK", "Content-Length: 100\r\n", b"only this"),
        "/large" => reply(out, "200 OK", "Content-Length: 100001\r\n", b""),
        // Does not say how much, and does not end.
        "/endless" => {
            reply(out, "200 OK", "", b"");
            while out.write_all(&[0; 4096]).is_ok() {}
        }
        _ => reply(out, "302 Found", "Location: /loop\r\nContent-Length: 0\r\n", b""),
    });
    let mut fetch = async |path: &str| why(&mut rig, artifact(format!("http://{address}/{path}"))).await;
    assert_eq!(fetch("none").await, "the server answers 404 Not Found");
    assert_eq!(seen.try_iter().count(), 1, "what is not there is not asked for again");
    assert_eq!(fetch("busy").await, "the server answers 503 Service Unavailable");
    assert_eq!(seen.try_iter().count(), 3, "what may pass is");
    let short = fetch("short").await;
    assert!(short.starts_with("broken off after 9 "), "{short}");
    assert_eq!(fetch("large").await, "larger than 100000 bytes");
    assert_eq!(fetch("endless").await, "larger than 100000 bytes");
    let redirects = fetch("loop").await;
    assert!(redirects.contains("redirect"), "{redirects}");
    let unreachable = why(&mut rig, artifact("http://127.0.0.1:1/x")).await;
    assert!(unreachable.contains("refused"), "{unreachable}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_killed_while_fetching_does_not_wait_for_the_server() {
    let (mut rig, _) = rig_with_files("http-slow").await;
    let (address, seen) = serve(|_, out| {
        reply(out, "200 OK", "Content-Length: 1000\r\n", b"some");
        // The thread, and the connection with it, lasts as long as the test.
        std::thread::park();
    });
    let id = rig.launch(with(artifact(format!("http://{address}/x"))));
    let asked = tokio::task::spawn_blocking(move || seen.recv_timeout(rig::PATIENCE));
    asked.await.expect("thread").expect("asked");
    rig.containerizer.kill(id, Duration::from_secs(3600));
    assert_eq!(rig.end(id).await, Err(StartFailure::Canceled));
    rig.containerizer.destroy(id);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_is_fetched_over_https_from_a_server_with_a_known_root_only() {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("certificate");
    let mut scratch = Scratch::new("https");
    let ca_file = scratch.dir.join("ca.pem");
    fs::write(&ca_file, key.cert.pem()).expect("file");
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![key.cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into()),
        )
        .expect("certificate");
    let tls = Arc::new(tls);
    let listener = TcpListener::bind("127.0.0.1:0").expect("port");
    let port = listener.local_addr().expect("address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            serve_tls(&tls, stream);
        }
    });
    let uri = format!("https://localhost:{port}/tool");
    scratch.config.ca_file = Some(ca_file);
    let mut rig = Rig::of(scratch).await;
    let tool = Artifact { executable: true, ..artifact(&uri) };
    let id = rig.launch(Launch { artifacts: vec![tool], ..launch(&["./tool"]) });
    assert_eq!(rig.how(id).await, How::Code(0));

    let mut stranger = Rig::new("https-stranger").await;
    let no = why(&mut stranger, artifact(&uri)).await;
    assert!(no.to_lowercase().contains("certificate") || no.contains("UnknownIssuer"), "{no}");
}

fn serve_tls(config: &Arc<rustls::ServerConfig>, stream: TcpStream) {
    let Ok(connection) = rustls::ServerConnection::new(config.clone()) else { return };
    let mut stream = rustls::StreamOwned::new(connection, stream);
    request_line(&mut stream);
    reply(&mut stream, "200 OK", &format!("Content-Length: {}\r\n", PROGRAM.len()), PROGRAM.as_bytes());
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_open_for_writing_for_a_moment_is_waited_for() {
    let (mut rig, files) = rig_with_files("busy").await;
    let path = files.join("busy");
    fs::write(&path, PROGRAM).expect("file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
    let open = || fs::File::options().append(true).open(&path).expect("it is there");
    let program = path.display().to_string();

    let held = open();
    let id = rig.launch(launch(&[&program]));
    let why = rig.end(id).await.expect_err("it is open all the time").to_string();
    assert!(why.contains("Text file busy"), "{why}");
    drop(held);

    let held = open();
    let id = rig.launch(launch(&[&program]));
    // Long enough for the first try, much shorter than the last; whenever it comes, the run starts.
    let _ = tokio::time::timeout(std::time::Duration::from_millis(100), std::future::pending::<()>()).await;
    drop(held);
    assert_eq!(rig.how(id).await, How::Code(0));
}
