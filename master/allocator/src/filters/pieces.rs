//! What clients declined of agents that are given out in pieces: a limit or what is kept for guarantees lets a client have
//! now this of an agent and now that, and each piece that it declined stays declined for as long as it said.

use std::collections::BTreeMap;

use proto::resources::Resources;

/// So many pieces of one agent are remembered for one client; that which ends first makes room.
pub(super) const PIECES_MAX: usize = 8;

/// Something that was declined.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub declined: Resources,
    /// The role of the client, where that makes a difference.
    pub node: Option<u32>,
    /// It ends with this tick.
    pub tick: u32,
    /// All that is free for the client is in it.
    pub blocks: bool,
}

/// The pieces beside the one that ends first, which is the filter: by client and agent. Few have any.
#[derive(Clone, Debug, Default)]
pub(super) struct Pieces(BTreeMap<(u32, u32), Vec<Piece>>);

impl Pieces {
    pub fn of(&self, pair: (u32, u32)) -> &[Piece] {
        self.0.get(&pair).map_or(&[], Vec::as_slice)
    }

    pub fn take(&mut self, pair: (u32, u32)) -> Vec<Piece> {
        self.0.remove(&pair).unwrap_or_default()
    }

    /// Keeps all but the one that ends first, which is returned.
    pub fn keep(&mut self, pair: (u32, u32), mut pieces: Vec<Piece>) -> Option<Piece> {
        let first = (0..pieces.len()).min_by_key(|at| pieces[*at].tick)?;
        let first = pieces.swap_remove(first);
        if !pieces.is_empty() {
            self.0.insert(pair, pieces);
        }
        Some(first)
    }

    pub fn pairs(&self) -> impl Iterator<Item = &(u32, u32)> {
        self.0.keys()
    }
}

/// All that is declined when one more is: what the new one covers for as long goes, and so does the new one if it says
/// nothing new.
pub(super) fn with(mut pieces: Vec<Piece>, new: Piece) -> Vec<Piece> {
    if pieces.iter().any(|old| old.tick >= new.tick && old.declined.contains(&new.declined)) {
        return pieces;
    }
    pieces.retain(|old| old.tick > new.tick || !new.declined.contains(&old.declined));
    pieces.push(new);
    if pieces.len() > PIECES_MAX {
        pieces.sort_by_key(|piece| piece.tick);
        pieces.remove(0);
    }
    pieces
}
