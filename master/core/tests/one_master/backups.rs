//! A master that is restored from a backup: what runs is adopted, what ended since is lost and not started again.

use master_core::restored;
use proto::log::Restored;
use proto::operator::DrainAgent;
use proto::task::TaskStatus;

use super::*;

/// Beyond all that the log before can have given.
const INDEX: u64 = 1 << 40;
const TERM: u64 = 1_000;
/// For so long there are no masters.
const AWAY: Duration = Duration::from_secs(24 * 3600);

/// All that is remembered, as a new log begins with it.
fn backup(world: &mut World) -> master_raft::Recovered {
    world.say(Input::Save { ticket: Ticket(77) });
    let saved = world.saved.pop().expect("it is saved").expect("a leader confirmed it");
    assert_eq!(saved.index, world.master.applied());
    let at_ms = world.time().wall.as_millis() + AWAY.as_millis() as u64;
    let mark = Restored { known_index: saved.index, index: INDEX, at_ms };
    let image = restored(&saved.image, mark, &BTreeMap::new()).unwrap();
    let conf_state = master_raft::ConfState::of(&[master_raft::NodeId(1)]);
    master_raft::Recovered {
        hard_state: master_raft::HardState { term: TERM, vote: None, commit: INDEX },
        conf_state: Some((INDEX, conf_state.clone())),
        snapshot: Some(master_raft::Snapshot {
            index: INDEX,
            term: TERM,
            conf_state,
            image: master_raft::Image::Bytes(image.into()),
        }),
        entries: vec![],
        applied: 0,
    }
}

/// A framework launches one task on what it is offered.
fn launch(world: &mut World, name: &str) -> proto::agent_link::TaskRun {
    world.run(Duration::from_secs(2));
    let offers = world.offers(1);
    assert!(!offers.is_empty(), "it is offered something for {name}");
    world.call(1, Some(name), accept(&offers, vec![task(name, 500)]));
    world.launched().pop().expect("its agent is told")
}

fn reported(given: &proto::agent_link::TaskRun, state: TaskState) -> proto::agent_link::RunReport {
    let Input::Agent { message: ToMaster::Update(said), .. } =
        update(&given.framework, given.run, given.task.id.as_str(), 1, state)
    else {
        unreachable!("an update is what an agent says")
    };
    let status: TaskStatus = said.status;
    proto::agent_link::RunReport {
        framework: given.framework.clone(),
        run: given.run,
        status,
        task: given.task.clone(),
    }
}

#[test]
fn what_runs_is_adopted_and_what_ended_since_is_lost_and_not_started_again() {
    let mut world = World::new();
    world.register(1);
    let framework = world.subscribe(1, None);
    let (ended, runs) = (launch(&mut world, "ended"), launch(&mut world, "runs"));
    let disk = backup(&mut world);
    let later = launch(&mut world, "later");
    assert!(later.run < RunId::at(INDEX, 0));

    world.restore(disk);
    assert!(world.master.registry().agent(&AgentId::new("a1").unwrap()).is_some());
    world.call(2, None, CallKind::Subscribe(subscribe(Some(framework.clone()))));
    world.run(Duration::from_secs(20));
    assert!(world.events(2).is_empty(), "what is not known yet is not said to be all there is");
    world.to_agent.clear();
    let runs_on = [&runs, &later].map(|given| reported(given, TaskState::Running)).to_vec();
    let register = Register { agent: agent(), epoch: Epoch(7), runs: runs_on };
    let agent = AgentId::new("a1").unwrap();
    world.say(Input::Agent { link: LinkId(2), agent, message: ToMaster::Register(register) });
    world.run(Duration::from_secs(1));

    let told = std::mem::take(&mut world.to_agent);
    let orders = told.iter().filter(|(_, kind)| {
        matches!(kind, ToAgentKind::Launch(_) | ToAgentKind::Kill(_) | ToAgentKind::Shutdown(_))
    });
    assert_eq!(orders.count(), 0, "nothing is started and nothing is ended: {told:?}");
    let alive: Vec<RunId> =
        world.master.registry().tasks_of(&framework).filter_map(|task| task.status.run).collect();
    assert!(alive.contains(&runs.run) && alive.contains(&later.run) && alive.len() == 2, "{alive:?}");
    let heard = world.events(2);
    let session = heard.iter().find_map(|event| match event {
        EventKind::Subscribed(session) => Some(session),
        _ => None,
    });
    let told: Vec<&str> =
        session.expect("it is heard").tasks.iter().map(|status| status.task.as_str()).collect();
    assert!(told.contains(&"later") && told.contains(&"runs"), "{told:?}");
    assert!(!told.contains(&"ended"), "{told:?}");
    let asked = proto::scheduler::Reconcile { tasks: vec![ended.task.id.clone()] };
    world.call(2, None, CallKind::Reconcile(asked));
    let lost = world.events(2).into_iter().find_map(|event| match event {
        EventKind::Update(status) if status.run == Some(ended.run) => Some(status),
        _ => None,
    });
    let lost = lost.expect("whoever asks is told");
    assert_eq!((lost.state, lost.reason), (TaskState::Lost, StatusReason::TaskUnknown));

    world.run(Duration::from_secs(2));
    let offers = world.offers(2);
    world.call(2, Some("new"), accept(&offers, vec![task("new", 500)]));
    let new = world.launched().pop().expect("work goes on");
    assert!(new.run > RunId::at(INDEX, 0), "no number is given twice");
    let first = world.master.registry().history_after(0).next().unwrap().clone();
    assert_eq!((first.kind.as_ref(), first.sequence), ("restored", INDEX));
}

#[test]
fn deadlines_that_passed_while_there_were_no_masters_end_nothing() {
    let mut world = World::new();
    world.register(1);
    let framework = world.subscribe(1, None);
    let runs = launch(&mut world, "runs");
    let drain = DrainAgent {
        agent: AgentId::new("a1").unwrap(),
        within: Some(Duration::from_secs(3600)),
        reason: String::new(),
    };
    let caller = Caller::User("ada".into());
    world.say(Input::Operator { ticket: Ticket(1), caller, call: OperatorCall::DrainAgent(drain) });
    world.say(Input::FrameworkClosed { session: SessionId(1) });
    let disk = backup(&mut world);
    world.now += AWAY.as_nanos() as u64;
    world.restore(disk);
    world.to_agent.clear();
    let register =
        Register { agent: agent(), epoch: Epoch(7), runs: vec![reported(&runs, TaskState::Running)] };
    let agent = AgentId::new("a1").unwrap();
    world.say(Input::Agent { link: LinkId(2), agent: agent.clone(), message: ToMaster::Register(register) });
    world.run(Duration::from_secs(30));
    let kills = world.to_agent.iter().filter(|(_, kind)| matches!(kind, ToAgentKind::Kill(_))).count();
    assert_eq!(kills, 0, "nothing is ended: {:?}", world.to_agent);
    assert!(world.master.registry().framework(&framework).is_some(), "it may come back");
    assert!(world.master.registry().agent(&agent).unwrap().drain.is_some(), "it gets no new work still");
    world.subscribe(3, Some(framework));
}

#[test]
fn an_agent_that_never_comes_keeps_nobody_waiting_for_ever() {
    let mut world = World::new();
    world.register(1);
    let framework = world.subscribe(1, None);
    launch(&mut world, "runs");
    let disk = backup(&mut world);
    world.now += AWAY.as_nanos() as u64;
    world.restore(disk);
    world.call(2, None, CallKind::Subscribe(subscribe(Some(framework.clone()))));
    assert!(world.events(2).is_empty());
    let mut heard = Vec::new();
    for _ in 0..180 {
        world.run(Duration::from_secs(1));
        heard.extend(world.events(2));
        if !heard.is_empty() {
            break;
        }
    }
    let session = heard.iter().find_map(|event| match event {
        EventKind::Subscribed(session) => Some(session),
        _ => None,
    });
    let states: Vec<TaskState> =
        session.expect("it is heard").tasks.iter().map(|status| status.state).collect();
    assert_eq!(states, [TaskState::Unreachable]);

    // What it brings when it comes after all, its framework is told.
    let mut brought = reported(&launched_elsewhere(&framework), TaskState::Running);
    brought.task = task("brought", 100);
    brought.status.task = brought.task.id.clone();
    let register = Register { agent: agent(), epoch: Epoch(7), runs: vec![brought] };
    let agent = AgentId::new("a1").unwrap();
    world.say(Input::Agent { link: LinkId(2), agent, message: ToMaster::Register(register) });
    world.run(Duration::from_secs(1));
    let told = world.events(2).into_iter().find_map(|event| match event {
        EventKind::Update(status) if status.task.as_str() == "brought" => Some(status.state),
        _ => None,
    });
    assert_eq!(told, Some(TaskState::Running));
}

/// A run of the old log that the backup does not know.
fn launched_elsewhere(framework: &FrameworkId) -> proto::agent_link::TaskRun {
    proto::agent_link::TaskRun {
        run: RunId::at(900, 0),
        framework: framework.clone(),
        task: task("brought", 100),
        principal: String::new(),
        volumes: vec![],
    }
}
