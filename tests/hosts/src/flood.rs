//! A stranger who opens as many connections as it can and says nothing, or half of what TLS begins with.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The first bytes of a TLS record that never goes on.
const HALF: [u8; 5] = [0x16, 0x03, 0x01, 0x02, 0x00];

/// So many are more than a door keeps of one stranger.
const TOLD: u64 = 1_500;

/// Opens so many, every other one silent; each that is closed is opened again, until this process is ended.
///
/// # Errors
/// When not even the first can be opened.
pub fn flood(door: SocketAddr, count: usize) -> Result<(), String> {
    let open = || -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&door, Duration::from_secs(1))?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    let mut held = vec![open().map_err(|why| format!("cannot open one: {why}"))?];
    let (mut opened, mut said) = (1_u64, false);
    loop {
        let mut closed = Vec::new();
        for (at, stream) in held.iter_mut().enumerate() {
            if matches!(stream.read(&mut [0; 64]), Ok(0)) {
                closed.push(at);
            }
        }
        for at in closed.into_iter().rev() {
            held.swap_remove(at);
        }
        for _ in held.len()..count {
            let Ok(mut stream) = open() else { break };
            if opened % 2 == 0 {
                let _ = stream.write(&HALF);
            }
            held.push(stream);
            opened += 1;
        }
        if !said && opened >= TOLD {
            println!("flooding");
            said = true;
        }
    }
}
