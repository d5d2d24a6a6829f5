//! `Doors`: where the masters are, as far as is known; each answer of a master may say more.

use std::sync::{Arc, Mutex, PoisonError};

use proto::roster::Masters;
use proto_grpc::MASTERS;
use tonic::metadata::MetadataMap;

/// Addresses of masters, shared by all clones of a client.
#[derive(Clone, Debug)]
pub(crate) struct Doors(Arc<Mutex<Vec<String>>>);

impl Doors {
    pub fn new(masters: &[String]) -> Doors {
        Doors(Arc::new(Mutex::new(masters.to_vec())))
    }

    /// All of them, in the order in which they are to be tried.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a master says of where masters are, if the list was changed since the founding.
    pub fn learn(&self, said: &MetadataMap) {
        let Some(text) = said.get(MASTERS).and_then(|text| text.to_str().ok()) else { return };
        let told = Masters { addresses: text.split(',').map(str::to_owned).collect() };
        told.learn(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_master_says_is_known_to_all_clones() {
        let doors = Doors::new(&["a:1".to_owned()]);
        let other = doors.clone();
        doors.learn(&MetadataMap::new());
        assert_eq!(other.all(), ["a:1"]);
        let mut said = MetadataMap::new();
        said.insert(MASTERS, "b:1,c:1".parse().unwrap());
        doors.learn(&said);
        assert_eq!(other.all(), ["b:1", "c:1", "a:1"]);
    }
}
