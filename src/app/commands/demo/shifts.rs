//! The story `shifts`: writes the shifts of an emulated When I Work account into a file, one line each.

use chrono::TimeDelta;

use super::{Stage, indented, say};
use crate::{app::listeners::Listeners, base::clock::Clock, state::layout};

const SHIFTS: u64 = 60;
const STATE: &str = r#"[
  {
    "list_id": "shifts",
    "source": { "type": "when_i_work", "days_ahead": 1 },
    "mapping": {
      "type": "fields",
      "fields": {
        "shift": "id",
        "person": "user_id",
        "from": { "from": "start_time", "as": "time" },
        "to": { "from": "end_time", "as": "time" },
      },
    },
    "sink": "ndjson",
    "every": "5s",
  },
]
"#;
const FILE: &str = "out/shifts.ndjson";

/// Runs the story. Returns whether no import failed.
pub async fn tell(listeners: &Listeners) -> anyhow::Result<bool> {
    let stage = Stage::new(STATE, listeners)?;
    stage.sandbox.when_i_work().invent(SHIFTS, 1, stage.clock.now());
    say(&format!(
        "importer writes the shifts of an emulated When I Work account into a file: {SHIFTS} shifts around today. The service \
         does not report\nwhat has changed, so each run reads today and tomorrow, and sends only shifts that have changed.\n\
         The demo needs no account, and nothing leaves this machine.\n\n\
         1. The state file names the source of the shifts, the fields to send, and the sink:\n"
    ));
    say(&indented(STATE));
    let loaded = stage.import().await?;
    let first = stage.text(FILE).await?;
    say(&format!(
        "\n   The first 3 of {} lines in {FILE}:\n\n{}",
        first.lines().count(),
        indented(&first.lines().take(3).collect::<Vec<_>>().join("\n"))
    ));
    let changes = change(&stage);
    say(&format!(
        "2. Ten seconds later (the demo sets its clock forward), {changes}\n   \
         The next run reads all shifts of the two days again, and sends only these two:\n"
    ));
    let synced = stage.import().await?;
    let all = stage.text(FILE).await?;
    let new: Vec<&str> = all.lines().skip(first.lines().count()).collect();
    say(&format!("\n   What was added to the file:\n\n{}", indented(&new.join("\n"))));
    say("3. The state file afterwards; importer has written its three fields:\n");
    say(&indented(&stage.text(layout::NAME).await?));
    say(
        "To try your own account, set WHEN_I_WORK_KEY, WHEN_I_WORK_EMAIL and WHEN_I_WORK_PASSWORD, and put this entry into \
         state/state.json.\ndocs/adapters.md describes all sources, mappings and sinks.",
    );
    Ok(loaded && synced)
}

/// Sets the clock ten seconds forward and changes two shifts. Returns a description of the changes.
fn change(stage: &Stage) -> String {
    stage.pass(TimeDelta::seconds(10));
    let now = stage.clock.now();
    let mut account = stage.sandbox.when_i_work();
    let soon = |start| start > now && start < now + TimeDelta::hours(20);
    let taken = account.shifts().filter(|shift| shift.user_id != 0 && shift.published && soon(shift.start));
    let ids: Vec<u64> = taken.map(|shift| shift.id).take(2).collect();
    let [moved, gone] = ids[..] else { return "nothing has changed.".into() };
    account.edit(moved, now, |shift| shift.user_id = 5_001);
    account.delete(gone);
    format!("another person has taken shift {moved}, and shift {gone} was deleted.")
}
