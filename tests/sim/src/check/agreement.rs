//! P5: the same index is the same registry, on every master, in every life.

use std::collections::BTreeMap;

use super::{Verdict, broken};
use crate::node::Node;

/// What the registry was at each index, and who said so first.
#[derive(Debug, Default)]
pub struct Agreement {
    images: BTreeMap<u64, (u64, Node)>,
    compared: u64,
}

impl Agreement {
    /// A master has applied the log up to here, and its registry folds to this.
    pub fn applied(&mut self, who: Node, index: u64, image: u64) -> Verdict {
        match self.images.get(&index) {
            Some((known, first)) if *known != image => broken(
                "P5 agreement",
                format!("at index {index} the registry of {who} is not the one {first} had"),
            ),
            Some(_) => {
                self.compared += 1;
                Ok(())
            }
            None => {
                self.images.insert(index, (image, who));
                Ok(())
            }
        }
    }

    /// How many times two registries were compared.
    pub fn compared(&self) -> u64 {
        self.compared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_registries_at_one_index_are_told_apart() {
        let mut agreement = Agreement::default();
        assert_eq!(agreement.applied(Node::Master(1), 5, 77), Ok(()));
        assert_eq!(agreement.applied(Node::Master(2), 5, 77), Ok(()));
        assert!(agreement.applied(Node::Master(3), 5, 78).is_err());
        assert_eq!(agreement.compared(), 1);
    }
}
