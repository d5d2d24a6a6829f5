//! Processes that are started with a file of settings, and what is said of such a file before that.

use std::time::Duration;

use crate::cluster::eventually;
use crate::founding::{ByHand, doors};

#[test]
fn a_master_and_an_agent_start_from_a_file() {
    let mut hand = ByHand::new("config");
    let door = doors(1).remove(0);
    let (data, work) = (hand.path("master"), hand.path("agent"));
    let text = format!(
        "[master]\ndata_dir = '{data}'\nlisten = '{door}'\noffer_timeout_s = 30\n\n\
         [agent]\nwork_dir = '{work}'\nmaster = ['{door}']\nresources = 'cpus:2;mem:256MiB'\nhostname = 'from-file'\n\
         attribute = ['zone=b', 'disk=ssd']\nend_tasks_on_exit = true\n"
    );
    let file = hand.path("stoa.toml");
    std::fs::write(&file, &text).unwrap();
    let checked = hand.stoa(&["config", "check", &file]);
    assert!(checked.code == 0 && checked.out.contains("it speaks of master, agent"), "{checked:?}");

    let said = hand.found(&["master", "-c", &file], "--join TOKEN");
    assert!(said.contains("founded the cluster"), "{said}");
    let context = hand.path("master/context");
    let token = hand.well("a token", &["token", "create", "--kind", "agent", "--context", &context]);
    // What is typed wins over the file.
    let line = ["agent", "--config", &file, "--hostname", "typed", "--join", token.out.trim()];
    hand.start("agent", &line);
    let agent = eventually("the agent", Duration::from_secs(20), || {
        let said = hand.stoa(&["get", "agents", "--context", &context, "-o", "json"]);
        let list: serde_json::Value = serde_json::from_str(&said.out).ok()?;
        list["items"].get(0).cloned().filter(|agent| agent["state"] == "active")
    });
    assert_eq!(agent["hostname"], "typed");
    assert_eq!((&agent["attributes"]["zone"], &agent["attributes"]["disk"]), (&"b".into(), &"ssd".into()));
    assert_eq!(agent["total"]["cpus_milli"], 2000);

    // The same, told: with the line, the flag, and what nobody said.
    let printed =
        hand.stoa(&["config", "print", "agent", "--origin", "-c", &file, "--", "--hostname", "typed"]);
    assert_eq!(printed.code, 0, "{printed:?}");
    for (name, origin) in
        [("agent.hostname ", "flag"), ("agent.resources ", "stoa.toml:9"), ("agent.share ", "default")]
    {
        let line = printed.out.lines().find(|line| line.starts_with(name));
        assert!(line.is_some_and(|line| line.ends_with(origin)), "{name}: {printed:?}");
    }
    let secret = hand.stoa(&["config", "print", "agent", "--", "--join", token.out.trim()]);
    assert!(secret.code == 0 && !secret.out.contains("SJ1."), "{secret:?}");

    // What fits no field is refused with its place, whoever reads it.
    let bad = hand.path("bad.toml");
    std::fs::write(&bad, text.replace("hostname", "hostnmae").replace("'cpus:2;", "'cpus:two;")).unwrap();
    for line in [&["config", "check", &bad][..], &["agent", "-c", &bad]] {
        let refused = hand.stoa(line);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.err.contains("bad.toml:10: agent.hostnmae"), "{refused:?}");
        assert!(refused.err.contains("did you mean hostname?"), "{refused:?}");
    }
    std::fs::write(&bad, text.replace("'cpus:2;", "'cpus:two;")).unwrap();
    let refused = hand.stoa(&["config", "check", &bad]);
    assert!(
        refused.code == 2 && refused.err.contains("resources:"),
        "what only the agent knows: {refused:?}"
    );
}
