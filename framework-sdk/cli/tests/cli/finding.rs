//! Masters that are dead, asleep, following or without a leader: who gets the answer, and what is said if nobody does.

use std::time::Duration;

use framework_sdk_cli::client::AskError;
use framework_sdk_cli::{Exit, Failure};
use proto::id::TaskId;
use proto::operator::{Call, KillTask, ReplyKind};
use proto::refusal::Code;
use tokio::net::TcpListener;

use crate::pool::{Mood, Pool, nobody, typed};
use crate::views;

fn kill() -> Call {
    Call::KillTask(KillTask { framework: "F-1".into(), task: TaskId::new("web.2").unwrap(), grace: None })
}

#[tokio::test]
async fn any_master_that_lives_answers_reads() {
    let pool = Pool::new();
    let (alive, world) = pool.master(2).await;
    world.lock().unwrap().mood = Mood::Leaderless;
    let client = pool.client(&[&nobody().await, &alive, &nobody().await]);
    let reply = client.ask(Call::Status).await.unwrap();
    assert!(matches!(reply.kind, ReplyKind::Status(_)) && !reply.from_leader);
}

#[tokio::test]
async fn a_master_that_was_stopped_holds_nobody_up() {
    let pool = Pool::new();
    // Its kernel accepts; it never says a word.
    let asleep = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (alive, _) = pool.master(2).await;
    let client = pool.client(&[&asleep.local_addr().unwrap().to_string(), &alive]);
    // Well below the handshake's own patience.
    let client = client.with_patience(Duration::from_millis(2500));
    assert!(client.ask(Call::Status).await.is_ok());
}

#[tokio::test]
async fn orders_follow_the_redirect() {
    let pool = Pool::new();
    let (leader, leads) = pool.master(1).await;
    let (follower, follows) = pool.master(2).await;
    follows.lock().unwrap().mood = Mood::Follows(leader.clone());
    let client = pool.client(&[&follower]);
    let reply = client.ask(kill()).await.unwrap();
    assert_eq!((reply.kind, reply.from_leader), (ReplyKind::Done(77), true));
    assert_eq!(leads.lock().unwrap().calls, [kill()]);
}

#[tokio::test]
async fn a_leader_that_died_is_asked_for_again_until_there_is_another() {
    let pool = Pool::new();
    let (follower, follows) = pool.master(2).await;
    let dead = nobody().await;
    follows.lock().unwrap().mood = Mood::Follows(dead.clone());
    let client = pool.client(&[&dead, &follower]);
    let asking = tokio::spawn(async move { client.ask(kill()).await });
    // The election: once it has sent somebody to the dead leader, it wins itself.
    while follows.lock().unwrap().calls.len() < 2 {
        tokio::task::yield_now().await;
    }
    follows.lock().unwrap().mood = Mood::Leads;
    assert_eq!(asking.await.unwrap().unwrap().kind, ReplyKind::Done(77));
}

#[tokio::test]
async fn no_leader_is_said_so() {
    let pool = Pool::new();
    let (master, world) = pool.master(1).await;
    world.lock().unwrap().mood = Mood::Leaderless;
    let client = pool.client(&[&master]).with_patience(Duration::from_millis(400));
    let error = client.ask(kill()).await.unwrap_err();
    assert!(matches!(error, AskError::NoLeader(_)), "{error}");
    let failure = Failure::from(error);
    assert!(failure.retryable && failure.message.contains(&master), "{failure:?}");
    assert!(world.lock().unwrap().calls.len() > 1, "it asked more than once");
}

#[tokio::test]
async fn who_leads_is_asked_of_the_next_one_when_the_first_knows_no_leader() {
    let pool = Pool::new();
    let ((cut_off, alone), (leader, leads)) = (pool.master(1).await, pool.master(2).await);
    alone.lock().unwrap().mood = Mood::Leaderless;
    alone.lock().unwrap().raft = views::members(None, &[2, 3]);
    leads.lock().unwrap().raft = views::members(Some(2), &[1]);
    let dead = nobody().await;
    for masters in [[&cut_off, &leader, &dead], [&dead, &cut_off, &leader]] {
        let reply = pool.client(&masters.map(String::as_str)).ask(Call::Raft).await.unwrap();
        assert_eq!(reply.kind, ReplyKind::Raft(views::members(Some(2), &[1])));
    }
    // Where nobody knows more, it is told all the same.
    let asleep = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = asleep.local_addr().unwrap().to_string();
    for masters in [vec![cut_off.as_str()], vec![&cut_off, &dead], vec![&cut_off, &silent]] {
        let client = pool.client(&masters).with_patience(Duration::from_millis(1500));
        let reply = client.ask(Call::Raft).await.unwrap();
        assert_eq!((reply.kind, reply.from_leader), (ReplyKind::Raft(views::members(None, &[2, 3])), false));
    }
}

#[tokio::test]
async fn nobody_at_all_is_said_at_once() {
    let pool = Pool::new();
    let (one, two) = (nobody().await, nobody().await);
    let client = pool.client(&[&one, &two]);
    let error = client.ask(Call::Status).await.unwrap_err();
    assert!(matches!(error, AskError::Unreachable(_)), "{error}");
    for part in [one.as_str(), two.as_str(), "refused"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    let ran = typed(&client, "get tasks").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Unavailable, ""));
    assert!(ran.err.starts_with("error: no master answers") && ran.err.contains("help:"), "{}", ran.err);
}

#[tokio::test]
async fn another_cluster_s_certificate_gets_nowhere() {
    let (ours, theirs) = (Pool::new(), Pool::new());
    let (master, world) = ours.master(1).await;
    let error = theirs.client(&[&master]).ask(Call::Status).await.unwrap_err();
    assert!(error.to_string().contains("is not of this cluster"), "{error}");
    assert!(world.lock().unwrap().calls.is_empty());
}

#[tokio::test]
async fn each_refusal_has_its_exit_code() {
    let pool = Pool::new();
    let (master, world) = pool.master(1).await;
    let client = pool.client(&[&master]).with_patience(Duration::from_millis(400));
    for code in Code::ALL {
        world.lock().unwrap().mood = Mood::Refuses(code);
        let exit = match code {
            Code::Denied | Code::BadToken => Exit::Denied,
            Code::NotFound | Code::FrameworkRemoved => Exit::NotFound,
            Code::Invalid => Exit::Usage,
            Code::Conflict
            | Code::StaleOffer
            | Code::SessionReplaced
            | Code::AgentGone
            | Code::Compacted
            | Code::Fenced => Exit::Conflict,
            Code::LeaderLost | Code::TooMuch | Code::Unavailable => Exit::Unavailable,
        };
        let ran = typed(&client, "kill web.2").await;
        assert_eq!(ran.exit, exit, "{code:?}: {}", ran.err);
        assert!(ran.err.contains("no, thank you") && ran.err.contains(code.help()), "{code:?}: {}", ran.err);
    }
}

#[tokio::test]
async fn credentials_of_another_cluster_are_said_to_be_the_reason() {
    let (ours, theirs) = (Pool::new(), Pool::new());
    let (one, _) = theirs.master(1).await;
    let (two, _) = theirs.master(2).await;
    let failure = Failure::from(ours.client(&[&one, &two]).ask(Call::Status).await.unwrap_err());
    assert!(failure.message.contains("not of this cluster"), "{failure:?}");
    assert!(failure.hint.contains("--context"), "{failure:?}");
    // Nobody is there at all: another reason, another help.
    let failure = Failure::from(ours.client(&[&nobody().await]).ask(Call::Status).await.unwrap_err());
    assert!(failure.hint.contains("is the cluster up?"), "{failure:?}");
}
