//! The story `members`: syncs an emulated Mailchimp list with an emulated Ometria.

use chrono::TimeDelta;

use super::{Stage, indented, say};
use crate::{app::listeners::Listeners, base::clock::Clock, state::layout};

const LIST_ID: &str = "1a2d7ebf82";
const MEMBERS: u64 = 2500;
const STATE: &str = r#"[
  // The newsletter of an invented shop.
  {"list_id": "1a2d7ebf82", "items_per_request": 500}
]
"#;

/// Runs the story. Returns whether no import failed.
pub async fn tell(listeners: &Listeners) -> anyhow::Result<bool> {
    let stage = Stage::new(STATE, listeners)?;
    stage.sandbox.mailchimp().add_list(LIST_ID, MEMBERS, 1, stage.clock.now());
    say(&format!(
        "importer syncs an emulated Mailchimp list of {MEMBERS} members with an emulated Ometria. Some members are \
         archived, so the list does not show them.\n\
         The demo needs no account, and nothing leaves this machine.\n\n\
         1. The state file names the list. It has no latest_timestamp, so a full load is due:\n"
    ));
    say(&indented(STATE));
    let loaded = stage.import().await?;
    say(&contacts(&stage));
    let changes = change(&stage);
    say(&format!(
        "\n2. Three hours later (the demo sets its clock forward), {changes}\n   \
         The timestamp in the state file is more than 2 hours old, so an incremental sync of the changes is due:\n"
    ));
    let synced = stage.import().await?;
    say(&contacts(&stage));
    let state = stage.text(layout::NAME).await?;
    say(
        "\n3. The state file afterwards. The comment and the layout are unchanged; importer has written its three \
         fields:\n",
    );
    say(&indented(&state));
    say(
        "To load the whole list again, set latest_timestamp to null; importer notices every edit while it runs.\n\
         To sync a list of your own, you need two API keys and one line in state/state.json; see README.md.",
    );
    Ok(loaded && synced)
}

/// Sets the clock three hours forward and changes a few members. Returns a description of the changes.
fn change(stage: &Stage) -> String {
    stage.pass(TimeDelta::hours(3));
    let now = stage.clock.now() - TimeDelta::minutes(30);
    let mut mailchimp = stage.sandbox.mailchimp();
    let subscribed: Vec<u64> = mailchimp
        .members(LIST_ID)
        .filter(|member| member.status == "subscribed")
        .map(|member| member.number)
        .take(3)
        .collect();
    for (index, number) in subscribed.into_iter().enumerate() {
        mailchimp.edit(LIST_ID, number, now, |member| match index {
            0 => member.first = "Augusta".into(),
            1 => member.status = "unsubscribed",
            _ => member.status = "archived",
        });
    }
    "one subscriber has a new name, one has unsubscribed, and one was archived.".into()
}

/// Counts the contacts of Ometria by consent.
fn contacts(stage: &Stage) -> String {
    let ometria = stage.sandbox.ometria();
    let with = |optin: Option<&str>| {
        let said = ometria.contacts().values().map(|contact| contact.get("marketing_optin"));
        said.filter(|said| said.and_then(|said| said.as_str()) == optin).count()
    };
    format!(
        "\n   Ometria now has {} contacts: {} opted in, {} opted out, {} never asked.",
        ometria.contacts().len(),
        with(Some("EXPLICITLY_OPTEDIN")),
        with(Some("EXPLICITLY_OPTEDOUT")),
        with(None)
    )
}
