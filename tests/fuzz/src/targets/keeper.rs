//! The keeper: what an agent sends it, and the log it finds.

use agent_keeper::protocol::{Event, Frames, Outcome, Request, Visit};
use agent_keeper::{Ending, read_log};

use crate::target::{Kind, Taken, Target, Verdict, ensure};

pub(super) const PROTOCOL: Target = Target::new(
    "keeper",
    "whatever an agent or a keeper sends is refused, or reads back as it was written",
    Kind::Bytes,
    protocol,
);

/// The first byte says which way; what follows is what comes out of the socket.
fn protocol(input: &[u8]) -> Verdict {
    let Some((which, rest)) = input.split_first() else { return Ok(Taken::No) };
    let mut taken = Taken::No;
    match which % 4 {
        2 => {
            let Ok(visit) = Visit::decode(rest) else { return Ok(Taken::No) };
            let written = visit.encode().map_err(|bad| format!("{visit:?} cannot be written: {bad:?}"))?;
            ensure(Visit::decode(&written).as_ref() == Ok(&visit), || {
                format!("{visit:?} is read back as another")
            })?;
            return Ok(Taken::Yes);
        }
        3 => {
            let Ok(outcome) = Outcome::decode(rest) else { return Ok(Taken::No) };
            ensure(Outcome::decode(&outcome.encode()).as_ref() == Ok(&outcome), || format!("{outcome:?}"))?;
            return Ok(Taken::Yes);
        }
        way => {
            let mut frames = Frames::new();
            // It may come in pieces.
            let (first, second) = rest.split_at(rest.len() / 2);
            for piece in [first, second] {
                frames.extend(piece);
                while let Ok(Some(body)) = frames.next_body() {
                    if way == 0 {
                        request(body)?
                    } else {
                        event(body)?
                    }
                    taken = Taken::Yes;
                }
            }
        }
    }
    Ok(taken)
}

fn body_of(frame: &[u8]) -> Result<Vec<u8>, String> {
    let mut frames = Frames::new();
    frames.extend(frame);
    match frames.next_body() {
        Ok(Some(body)) => Ok(body.to_vec()),
        other => Err(format!("what was written is no frame: {other:?}")),
    }
}

fn request(body: &[u8]) -> Result<(), String> {
    let Ok(request) = Request::decode(body) else { return Ok(()) };
    let mut written = Vec::new();
    request.encode(&mut written).map_err(|bad| format!("{request:?} cannot be written: {bad:?}"))?;
    let again = body_of(&written)?;
    ensure(Request::decode(&again).as_ref() == Ok(&request), || {
        format!("{request:?} is read back as another")
    })
}

fn event(body: &[u8]) -> Result<(), String> {
    let Ok(event) = Event::decode(body) else { return Ok(()) };
    let mut written = Vec::new();
    event.encode(&mut written);
    let again = body_of(&written)?;
    ensure(Event::decode(&again).as_ref() == Ok(&event), || format!("{event:?} is read back as another"))
}

pub(super) const LOG: Target = Target::new(
    "keeper-log",
    "what a keeper finds in its log is what was written, up to the first byte that is not",
    Kind::Bytes,
    log,
);

fn log(input: &[u8]) -> Verdict {
    let (records, ending) = read_log(input);
    let mut written = Vec::new();
    records.iter().for_each(|record| record.encode(&mut written));
    ensure(input.starts_with(&written), || {
        "the records that were read are not those that stand there".to_owned()
    })?;
    let rest = input.get(written.len()..).unwrap_or_default();
    let blank = rest.iter().all(|byte| *byte == 0);
    ensure((ending == Ending::Clean) == blank, || format!("{ending:?}, and {rest:?} is left"))?;
    Ok(if records.is_empty() { Taken::No } else { Taken::Yes })
}
