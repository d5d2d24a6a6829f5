//! An answer in parts: the first of a long list is read while the rest is still being written.

use proto::operator::{Reply, ReplyKind};

/// A task is some 300 bytes: a part is what goes into two or three packets of TLS.
const ITEMS_PER_PART: usize = 128;

/// The same answer in parts; whatever is no list is one.
pub(crate) fn parts(reply: Reply) -> Box<dyn Iterator<Item = Reply> + Send> {
    let Reply { as_of, from_leader, kind } = reply;
    let part = move |kind| Reply { as_of, from_leader, kind };
    match kind {
        ReplyKind::Agents(items) => Box::new(runs(items).map(ReplyKind::Agents).map(part)),
        ReplyKind::Frameworks(items) => Box::new(runs(items).map(ReplyKind::Frameworks).map(part)),
        ReplyKind::Tasks(items) => Box::new(runs(items).map(ReplyKind::Tasks).map(part)),
        ReplyKind::Offers(items) => Box::new(runs(items).map(ReplyKind::Offers).map(part)),
        ReplyKind::Roles(items) => Box::new(runs(items).map(ReplyKind::Roles).map(part)),
        other => Box::new(std::iter::once(part(other))),
    }
}

/// A list in runs. An empty one is an empty run: it says what there is none of.
fn runs<T>(items: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    let mut left = items.into_iter();
    let mut begun = false;
    std::iter::from_fn(move || {
        let run: Vec<T> = left.by_ref().take(ITEMS_PER_PART).collect();
        (!std::mem::replace(&mut begun, true) || !run.is_empty()).then_some(run)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_told_once_and_in_order() {
        for length in [0, 1, ITEMS_PER_PART, ITEMS_PER_PART + 1, 3 * ITEMS_PER_PART] {
            let all: Vec<usize> = (0..length).collect();
            let told: Vec<Vec<usize>> = runs(all.clone()).collect();
            assert_eq!(told.concat(), all);
            assert_eq!(told.len(), length.div_ceil(ITEMS_PER_PART).max(1), "{length}");
        }
    }

    #[test]
    fn each_part_says_as_of_when_it_holds() {
        let roles =
            vec![crate::read_model::plain_role(proto::role::Role::default_role()); ITEMS_PER_PART + 1];
        let reply = Reply { as_of: 93, from_leader: true, kind: ReplyKind::Roles(roles) };
        let parts: Vec<Reply> = parts(reply).collect();
        assert!(parts.iter().all(|part| part.as_of == 93 && part.from_leader));
        let counts = parts.iter().map(|part| match &part.kind {
            ReplyKind::Roles(roles) => roles.len(),
            other => panic!("{other:?}"),
        });
        assert_eq!(counts.collect::<Vec<_>>(), [ITEMS_PER_PART, 1]);
    }

    #[test]
    fn what_is_no_list_is_one_part() {
        let reply = Reply { as_of: 1, from_leader: false, kind: ReplyKind::Redirect("a:1".into()) };
        assert_eq!(parts(reply.clone()).collect::<Vec<_>>(), [reply]);
    }
}
