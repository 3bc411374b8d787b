//! The contract between adapters and engine, tested on the decorated adapters of the soak: a sink that throttles,
//! one that settles at its close, a cursor over changes, and a stream of shards.

use std::{sync::Arc, time::Duration};

use importer::{
    sink::{self, Delivery, Sink},
    source::Source,
};
use serde_json::json;

use crate::{
    contract::{prepared, read_all, sandbox, sandbox_doors, sink, source},
    soak::decorators::{AtClose, ByCursor, ByShard, Chance, Throttled},
    support::{NOON, at},
};

#[tokio::test(start_paused = true)]
async fn a_cursor_over_changes_and_a_stream_return_every_record_once_whatever_the_page_size() {
    for count in [7, 100, 1000] {
        let sandbox = sandbox(Duration::ZERO);
        let doors = sandbox_doors(&sandbox);
        let (listed, settled) = {
            let mailchimp = sandbox.mailchimp();
            let listed = mailchimp.members("a").filter(|member| member.status != "archived").count();
            // The stream has both listings, up to a minute ago.
            let settled = at(NOON) - chrono::TimeDelta::seconds(60);
            (listed, mailchimp.members("a").filter(|member| member.last_changed <= settled).count())
        };
        let inner = || source("mailchimp", "a", &doors);
        let sources: [(Box<dyn Source>, usize); 2] = [
            (Box::new(ByCursor(inner())), listed),
            (Box::new(ByShard { source: inner(), shards: 3 }), settled),
        ];
        for (source, held) in sources {
            let mut keys: Vec<u128> = read_all(source.as_ref(), count)
                .await
                .into_iter()
                .map(|record| record.key.digest())
                .collect();
            let read = keys.len();
            keys.sort_unstable();
            keys.dedup();
            assert!(held > 200 && (read, keys.len()) == (held, held), "{read} of {held}, {count} a page");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_throttles_names_what_to_send_again_until_it_has_accepted_everything() {
    let (sandbox, folder) = (sandbox(Duration::ZERO), tempfile::tempdir().unwrap());
    let sink::Opened { sink, .. } = sink(json!("ometria"), folder.path(), &sandbox_doors(&sandbox));
    let sink = Throttled { sink, chance: Arc::new(Chance::new(1)), share: 0.5 };
    for _ in 0..2 {
        let mut left = prepared(&sink, 100);
        let mut rounds = 0;
        while !left.is_empty() {
            let Delivery { rejected, retry, .. } = sink.deliver(&left).await.unwrap();
            assert!(rejected.is_empty() && retry.is_sorted() && retry.iter().all(|at| *at < left.len()));
            left = retry.into_iter().map(|at| left[at].clone()).collect();
            rounds += 1;
        }
        assert!(rounds > 2, "{rounds} rounds");
    }
    sink.check().await.unwrap();
    assert_eq!(sandbox.ometria().contacts().len(), 1, "they share an id");
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_settles_at_its_close_does_nothing_before_and_nothing_if_it_is_dropped() {
    let (sandbox, folder) = (sandbox(Duration::ZERO), tempfile::tempdir().unwrap());
    let doors = sandbox_doors(&sandbox);
    let open = || {
        let sink::Opened { sink, spec } = sink(json!("ometria"), folder.path(), &doors);
        AtClose::new(sink, Arc::new(Chance::new(1)), spec.limits, 0.0)
    };
    let dropped = open();
    dropped.deliver(&prepared(&dropped, 10)).await.unwrap();
    drop(dropped);
    let sink = open();
    for _ in 0..2 {
        let batch = prepared(&sink, 100);
        assert_eq!(sink.deliver(&batch).await.unwrap(), Delivery::default());
    }
    assert_eq!(sandbox.ometria().contacts().len(), 0);
    sink.close().await.unwrap();
    assert_eq!(sandbox.ometria().contacts().len(), 1, "they share an id");
    sink.close().await.unwrap();
}
