//! The least that an importer could do: reads pages by offset, maps seven fields, and pushes them. It has no window, no
//! checkpoint, no retries and no rules, so it loses members when the list changes meanwhile or a request fails.

use std::borrow::Cow;

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::{AT_ONCE, Failure, Service};

/// Contacts per push.
const BATCH: usize = 100;

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    members: Vec<Member<'a>>,
    total_items: usize,
}

#[derive(Deserialize)]
struct Member<'a> {
    #[serde(borrow)]
    contact_id: Cow<'a, str>,
    #[serde(borrow)]
    email_address: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    timestamp_signup: Cow<'a, str>,
    #[serde(borrow)]
    timestamp_opt: Cow<'a, str>,
    #[serde(borrow)]
    merge_fields: MergeFields<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
struct MergeFields<'a> {
    #[serde(borrow)]
    fname: Cow<'a, str>,
    #[serde(borrow)]
    lname: Cow<'a, str>,
    /// An object, or an empty text.
    #[serde(borrow)]
    address: &'a RawValue,
}

#[derive(Deserialize)]
struct Address<'a> {
    #[serde(borrow)]
    country: Cow<'a, str>,
}

#[derive(Serialize)]
struct Contact<'a> {
    #[serde(rename = "@type")]
    kind: &'static str,
    #[serde(rename = "@collection")]
    collection: &'static str,
    #[serde(rename = "@merge")]
    merge: bool,
    id: &'a str,
    email: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    firstname: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    lastname: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    country_id: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    marketing_optin: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    timestamp_acquired: &'a str,
}

pub async fn run(service: Service, count: usize, fields: &str) -> Result<(), Failure> {
    let (sender, receiver) = mpsc::channel(2 * AT_ONCE);
    let pushes = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let pushes = pushes.map(Ok).try_for_each_concurrent(AT_ONCE, |body| service.push(body));
    tokio::try_join!(read_all(&service, count, fields, sender), pushes)?;
    Ok(())
}

async fn read_all(
    service: &Service,
    count: usize,
    fields: &str,
    sender: mpsc::Sender<Vec<u8>>,
) -> Result<(), Failure> {
    let total = read(service, 0, count, fields, &sender).await?;
    let offsets = stream::iter((count..total).step_by(count).map(Ok));
    let read = |offset| {
        let sender = sender.clone();
        async move { read(service, offset, count, fields, &sender).await.map(|_| ()) }
    };
    offsets.try_for_each_concurrent(AT_ONCE, read).await
}

/// Reads a page and hands its batches on. Returns the total.
async fn read(
    service: &Service,
    offset: usize,
    count: usize,
    fields: &str,
    sender: &mpsc::Sender<Vec<u8>>,
) -> Result<usize, Failure> {
    let order = "sort_field=last_changed&sort_dir=ASC";
    let path = format!("/3.0/lists/bench/members?{order}&offset={offset}&count={count}&fields={fields}");
    let mut text = Vec::new();
    service.get(&path, |part| text.extend_from_slice(part)).await?;
    let page: Page = serde_json::from_slice(&text)?;
    for members in page.members.chunks(BATCH) {
        let contacts: Vec<Contact> = members.iter().map(contact).collect();
        sender.send(serde_json::to_vec(&contacts)?).await?;
    }
    Ok(page.total_items)
}

fn contact<'a>(member: &'a Member) -> Contact<'a> {
    let merge = &member.merge_fields;
    let country = serde_json::from_str(merge.address.get())
        .map_or(Cow::Borrowed(""), |address: Address| Cow::Owned(address.country.into_owned()));
    Contact {
        kind: "contact",
        collection: "mailchimp_bench",
        merge: true,
        id: &member.contact_id,
        email: member.email_address.to_lowercase(),
        firstname: &merge.fname,
        lastname: &merge.lname,
        country_id: country,
        marketing_optin: match &*member.status {
            "subscribed" => "EXPLICITLY_OPTEDIN",
            "unsubscribed" | "cleaned" => "EXPLICITLY_OPTEDOUT",
            _ => "",
        },
        timestamp_acquired: match &*member.timestamp_signup {
            "" => &member.timestamp_opt,
            time => time,
        },
    }
}
