//! What no importer can beat: `limit replay BASE TRACE` repeats the requests of a run, with bodies of the same size, and
//! parses nothing. `limit bare BASE COUNT FIELDS` is the least that an importer could do; see [`bare`].
#![expect(clippy::disallowed_methods, reason = "a program of the bench has a client of its own")]

mod bare;
mod replay;

use std::{env, error::Error};

use reqwest::{Client, redirect::Policy};
use tokio::runtime::Builder;

/// Simultaneous reads, and simultaneous pushes.
const AT_ONCE: usize = 8;

type Failure = Box<dyn Error + Send + Sync>;

/// The service, as a client sees it.
#[derive(Clone)]
struct Service {
    client: Client,
    base: String,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let service = |base: &str| -> Result<Service, Failure> {
        let client = Client::builder().user_agent("limit").redirect(Policy::none()).build()?;
        Ok(Service { client, base: base.to_owned() })
    };
    // One thread: on two cores, the service has the other one.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    match words[..] {
        ["replay", base, trace] => runtime.block_on(replay::run(service(base)?, trace)),
        ["bare", base, count, fields] => runtime.block_on(bare::run(service(base)?, count.parse()?, fields)),
        _ => Err("usage: limit replay BASE TRACE, or limit bare BASE COUNT FIELDS".into()),
    }
}

impl Service {
    /// Reads a whole response and hands each of its parts to `part`.
    async fn get(&self, path: &str, mut part: impl FnMut(&[u8])) -> Result<(), Failure> {
        let request = self.client.get(format!("{}{path}", self.base)).basic_auth("limit", Some("key"));
        let mut response = request.send().await?.error_for_status()?;
        while let Some(chunk) = response.chunk().await? {
            part(&chunk);
        }
        Ok(())
    }

    async fn push(&self, body: Vec<u8>) -> Result<(), Failure> {
        let request = self.client.post(format!("{}/v2/push", self.base)).header("x-ometria-auth", "key");
        let request = request.header("content-type", "application/json").body(body);
        let mut response = request.send().await?.error_for_status()?;
        while response.chunk().await?.is_some() {}
        Ok(())
    }
}
