//! Somebody who is through TLS, and says what no client says: floods of frames, frames that cannot be, messages that are cut short.
//!
//! Frames are written by hand (RFC 9113): a library would not let itself be misused.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// So much of one flood, unless it is stopped before.
const FLOOD_FRAMES: usize = 300_000;
const FLOOD_LASTS: Duration = Duration::from_secs(1);
/// So many frames are written at once.
const AT_ONCE: usize = 500;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What the door has to do about it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Must {
    /// Close the connection.
    Close,
    /// Answer the call, or close the connection.
    Answer,
    /// Neither is needed: whoever floods only has to find an end.
    Bear,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Answered,
    /// And with a message.
    Told,
    /// Nothing more is taken of it.
    Stopped,
    /// It was all taken, and nothing came of it.
    Taken,
}

/// A connection that is through TLS, and how many frames were written to it.
struct Line {
    tls: StreamOwned<ClientConnection, TcpStream>,
    frames: usize,
    calls: &'static Calls,
}

/// What a door serves: what is no call of its own it would refuse unread.
struct Calls {
    /// Of many messages.
    session: &'static str,
    /// Of one.
    ask: &'static str,
    /// A message for the second that is as it should be, and whether it is answered with one.
    good: (&'static [u8], bool),
}

/// How is the cluster?
const OF_MASTERS: Calls = Calls {
    session: "/stoa.v1.scheduler.Scheduler/Session",
    ask: "/stoa.v1.operator.Operator/Ask",
    good: (&[0, 0, 0, 0, 2, 10, 0], true),
};
/// What did a task write, that is not named?
const OF_AGENTS: Calls = Calls {
    session: "/stoa.v1.agent.AgentDoor/Exec",
    ask: "/stoa.v1.agent.AgentDoor/Logs",
    good: (&[0, 0, 0, 0, 0], false),
};

type Case = (&'static str, Must, fn(&mut Line) -> std::io::Result<()>);

const CASES: &[Case] = &[
    ("calls opened and reset at once", Must::Close, |line| {
        let session = line.calls.session;
        line.flood(|number| {
            let stream = 2 * u32::try_from(number).unwrap_or_default() + 1;
            [call(stream, session), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
        })
    }),
    ("headers that never end", Must::Close, |line| {
        line.say(&frame(HEADERS, 0, 1, &[0x83]))?;
        line.flood(|_| frame(CONTINUATION, 0, 1, &[0; 64]))
    }),
    ("pings", Must::Bear, |line| line.flood(|_| frame(PING, 0, 0, b"are-you?"))),
    ("settings", Must::Bear, |line| line.flood(|_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]))),
    ("empty data", Must::Bear, |line| {
        line.say(&call(1, line.calls.session))?;
        line.flood(|_| frame(DATA, 0, 1, &[]))
    }),
    ("calls that are opened and left", Must::Bear, |line| {
        let session = line.calls.session;
        line.flood(|number| call(2 * u32::try_from(number).unwrap_or_default() + 1, session))
    }),
    ("no frames at all", Must::Close, |line| line.say(&noise(64 << 10))),
    ("a frame of 16 MiB", Must::Close, |line| line.say(&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1])),
    ("data for a call that was not made", Must::Close, |line| line.say(&frame(DATA, 0, 7, b"data"))),
    ("a call of the server's numbers", Must::Close, |line| line.say(&call(2, line.calls.session))),
    ("a window that overflows", Must::Close, |line| {
        let most = [0x7f, 0xff, 0xff, 0xff];
        line.say(&frame(WINDOW_UPDATE, 0, 0, &most))?;
        line.say(&frame(WINDOW_UPDATE, 0, 0, &most))
    }),
    ("headers that refer to nothing", Must::Close, |line| {
        line.say(&frame(HEADERS, END_HEADERS, 1, &[0xff, 0xff, 0xff, 0xff, 0x0f]))
    }),
    ("a message cut short", Must::Answer, |line| line.session(&[0, 0, 0, 1, 0, 10, 200])),
    ("a field longer than its message", Must::Answer, |line| line.session(&[0, 0, 0, 0, 3, 10, 200, 1])),
    ("a message that is no message", Must::Answer, |line| line.ask(&[0, 0, 0, 0, 4, 7, 7, 7, 7])),
    ("a number that never ends", Must::Answer, |line| {
        line.ask(&[&[0, 0, 0, 0, 12][..], &[0xff; 12]].concat())
    }),
    ("a message of 4 GiB", Must::Answer, |line| line.ask(&[0, 0xff, 0xff, 0xff, 0xff, 10])),
    ("a message packed in no way that is known", Must::Answer, |line| line.ask(&[9, 0, 0, 0, 0])),
    ("messages in messages", Must::Answer, |line| {
        let mut deep = Vec::new();
        for _ in 0..2_000 {
            let length = u32::try_from(deep.len()).unwrap_or_default();
            deep.splice(0..0, [&[10][..], &varint(length)].concat());
        }
        let length = u32::try_from(deep.len()).unwrap_or_default().to_be_bytes();
        line.ask(&[&[0][..], &length, &deep].concat())
    }),
];

/// All of it at one door, as whoever has these credentials, and then as somebody who has none. Says of each how it ended.
///
/// # Errors
/// What the door did not do, or when a call that is as it should be is not answered in the end.
pub fn speak(door: SocketAddr, server: &str, credentials: &Path) -> Result<(), String> {
    let configs = [("known", config(credentials, true)?), ("unknown", config(credentials, false)?)];
    let calls = if server.starts_with("agent") { &OF_AGENTS } else { &OF_MASTERS };
    for (who, config) in &configs {
        for (what, must, case) in CASES {
            let mut line = Line::open(door, server, config, calls)?;
            // A door that closes in the middle is one that closes.
            let said = case(&mut line);
            let end = match said {
                Ok(()) if *must == Must::Bear => End::Taken,
                Ok(()) => line.heard(),
                Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => End::Stopped,
                Err(_) => End::Closed,
            };
            println!("{who}: {what}: {end:?} after {} frames", line.frames);
            let right = match must {
                Must::Close => end == End::Closed,
                Must::Answer => matches!(end, End::Closed | End::Answered | End::Told),
                Must::Bear => true,
            };
            if !right {
                return Err(format!("{who}: {what}: {end:?} after {} frames", line.frames));
            }
        }
        let mut line = Line::open(door, server, config, calls)?;
        let (message, told) = calls.good;
        let end = line.ask(message).map(|()| line.heard());
        let wanted = if told && *who == "known" { End::Told } else { End::Answered };
        if !matches!(end, Ok(end) if end == wanted) {
            return Err(format!("{who}: then a call that is as it should be: {end:?}"));
        }
    }
    Ok(())
}

// === impl Line ===

impl Line {
    fn open(
        door: SocketAddr,
        server: &str,
        config: &Arc<ClientConfig>,
        calls: &'static Calls,
    ) -> Result<Line, String> {
        let failed = |why: std::io::Error| format!("no connection to {door}: {why}");
        let stream = TcpStream::connect_timeout(&door, PATIENCE).map_err(failed)?;
        stream.set_write_timeout(Some(FLOOD_LASTS)).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let server = ServerName::try_from(server.to_owned()).map_err(|why| format!("no name: {why}"))?;
        let client = ClientConnection::new(config.clone(), server).map_err(|why| format!("no TLS: {why}"))?;
        let mut line = Line { tls: StreamOwned::new(client, stream), frames: 0, calls };
        line.say(PREFACE).and_then(|()| line.say(&frame(SETTINGS, 0, 0, &[]))).map_err(failed)?;
        Ok(line)
    }

    fn say(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.frames += 1;
        self.tls.write_all(bytes)?;
        self.tls.flush()
    }

    /// Frame after frame, and what comes back is not read.
    fn flood(&mut self, frame: impl Fn(usize) -> Vec<u8>) -> std::io::Result<()> {
        let begun = Instant::now();
        for first in (0..FLOOD_FRAMES).step_by(AT_ONCE) {
            if begun.elapsed() > FLOOD_LASTS {
                break;
            }
            let frames: Vec<u8> = (first..first + AT_ONCE).flat_map(&frame).collect();
            self.say(&frames)?;
            self.frames += AT_ONCE - 1;
        }
        Ok(())
    }

    /// A call of many messages with these bytes in their place.
    fn session(&mut self, body: &[u8]) -> std::io::Result<()> {
        self.call(self.calls.session, body)
    }

    /// The same with a call of one.
    fn ask(&mut self, body: &[u8]) -> std::io::Result<()> {
        self.call(self.calls.ask, body)
    }

    fn call(&mut self, path: &str, body: &[u8]) -> std::io::Result<()> {
        self.say(&call(1, path))?;
        self.say(&frame(DATA, END_STREAM, 1, body))
    }

    /// Reads until the first call is answered or the connection is closed.
    fn heard(&mut self) -> End {
        let begun = Instant::now();
        let mut heard = Vec::new();
        let mut some = [0; 16 << 10];
        let mut told = false;
        while begun.elapsed() < PATIENCE {
            match self.tls.read(&mut some) {
                Ok(0) => return End::Closed,
                Ok(read) => heard.extend_from_slice(&some[..read]),
                Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(_) => return End::Closed,
            }
            while let Some((kind, flags, stream, length)) =
                header(&heard).filter(|of| heard.len() >= 9 + of.3)
            {
                heard.drain(..9 + length);
                told |= kind == DATA && stream == 1 && length > 0;
                match kind {
                    GO_AWAY => return End::Closed,
                    RST_STREAM if stream == 1 => return End::Answered,
                    HEADERS | DATA if stream == 1 && flags & END_STREAM != 0 => {
                        return if told { End::Told } else { End::Answered };
                    }
                    _ => {}
                }
            }
        }
        End::Taken
    }
}

/// Kind, flags, stream and length of the frame that begins here.
fn header(bytes: &[u8]) -> Option<(u8, u8, u32, usize)> {
    let [a, b, c, kind, flags, s0, s1, s2, s3] = *bytes.first_chunk()?;
    let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    Some((kind, flags, u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff, length))
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The headers of a call, none of them indexed (RFC 7541, 6.2.2).
fn call(stream: u32, path: &str) -> Vec<u8> {
    let literal = |text: &str| [&[u8::try_from(text.len()).unwrap_or_default()], text.as_bytes()].concat();
    let named = |name: &str, value: &str| [&[0][..], &literal(name), &literal(value)].concat();
    let block = [
        // Method POST, scheme https; path and authority by the names of the static table.
        vec![0x83, 0x87, 0x04],
        literal(path),
        vec![0x01],
        literal("stoa"),
        named("content-type", "application/grpc"),
        named("te", "trailers"),
    ];
    frame(HEADERS, END_HEADERS, stream, &block.concat())
}

fn varint(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap_or_default());
    bytes
}

/// The same bytes each time, in no order that means anything.
fn noise(length: usize) -> Vec<u8> {
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    std::iter::successors(Some(7), next).map(|state| state.to_be_bytes()[0]).take(length).collect()
}

fn config(credentials: &Path, known: bool) -> Result<Arc<ClientConfig>, String> {
    let place = |name: &str| credentials.join(name);
    let failed =
        |what: &str, why: &dyn std::fmt::Display| format!("{}: {what}: {why}", credentials.display());
    let certificate =
        |name: &str| CertificateDer::from_pem_file(place(name)).map_err(|why| failed(name, &why));
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca.pem")?).map_err(|why| failed("ca.pem", &why))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|why| failed("TLS", &why))?
        .with_root_certificates(roots);
    let mut config = if known {
        let key = PrivateKeyDer::from_pem_file(place("key.pem")).map_err(|why| failed("key.pem", &why))?;
        let chain = vec![certificate("cert.pem")?];
        builder.with_client_auth_cert(chain, key).map_err(|why| failed("cert.pem", &why))?
    } else {
        builder.with_no_client_auth()
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}
