//! Compares the log lines that people know, search for and alert on, each as a whole.

use std::{fs, time::Duration};

use importer::controller::Verdict;
use tokio::time::sleep;

use crate::support::{World, hours, minutes};

/// Returns the different lines of a log from level info up, in the order of their first occurrence, without the seconds of a run,
/// which depend on the disk.
fn known(world: &World) -> Vec<String> {
    let folder = world.folder.path().canonicalize().unwrap().display().to_string();
    let mut known: Vec<String> = Vec::new();
    for line in world.log().into_iter().filter(|line| !line.starts_with("DEBUG")) {
        let line = line.replace(&folder, "STATE");
        let line = match line.split_once(" finished in ") {
            Some((list, rest)) => format!("{list} finished in N{}", &rest[rest.find(" seconds").unwrap()..]),
            None => line,
        };
        if !known.contains(&line) {
            known.push(line);
        }
    }
    known
}

#[tokio::test(start_paused = true)]
async fn the_lines_that_people_know_read_as_before() {
    let text = r#"[{"list_id": "known1"}]"#;
    let world = World::new().list("known1", 5).with_state(text);
    let people = async {
        sleep(minutes(2) + Duration::from_secs(17)).await;
        world.save(&format!("{} ", world.state()));
        sleep(hours(2)).await;
        fs::write(world.folder.path().join("controller.quit"), "").unwrap();
    };
    let (verdict, ()) = tokio::join!(world.go(), people);
    assert_eq!(verdict.unwrap(), Verdict::Done);
    let expected = [
        r#"INFO starting, state file "STATE/state.json"."#,
        "INFO checking all lists.",
        r#"INFO list "known1" has no latest timestamp, firing full load."#,
        "INFO sleeping for 60 seconds.",
        r#"WARN list "known1" is loaded for the first time: contacts that arrive as subscribed can start a welcome campaign in Ometria, for everyone on the list; if one is running there, stop importer, pause the campaign, and start again."#,
        r#"INFO list "known1" finished in N seconds: 5 records in the window, 5 seen: 4 sent, 1 skipped (1 pending), 0 rejected; 0 read twice, 0 left the window, 2 passes, 0 unexplained."#,
        r#"INFO list "known1": fields left out: 2 merge_fields.BIRTHDAY not_mapped, 1 merge_fields.COMPANY not_mapped (`importer preview known1` shows them for single records)."#,
        r#"INFO list "known1" updated, latest timestamp "2026-11-21 12:00:00"."#,
        r#"INFO list "known1" up to date, last updated on "2026-11-21 12:00:00"."#,
        "INFO the state file has changed.",
        r#"INFO list "known1" last updated on "2026-11-21 12:00:00", over 2 hours ago, firing incremental sync."#,
        r#"INFO list "known1" finished in N seconds: 0 records in the window, 0 seen: 0 sent, 0 skipped, 0 rejected; 0 read twice, 0 left the window, 1 pass, 0 unexplained."#,
        r#"INFO list "known1" updated, latest timestamp "2026-11-21 14:00:01"."#,
        r#"INFO list "known1" up to date, last updated on "2026-11-21 14:00:01"."#,
        r#"INFO found "STATE/controller.quit"."#,
    ];
    assert_eq!(known(&world), expected);
}
