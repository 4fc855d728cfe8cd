//! NATS with JetStream: the server, and its Rust client as its users would use it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use async_nats::jetstream::consumer::{DeliverPolicy, pull, push};
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions};
use bytes::Bytes;
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::load::{Load, Publishing, payload, together};
use crate::server::{Server, poll};
use crate::tls::Tls;

const STARTS_WITHIN: Duration = Duration::from_secs(120);
/// A reader that waits longer for the next message of a catch-up has lost it.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Messages that a client holds for a subscription: the client drops what is above.
const SUBSCRIPTION_CAPACITY: usize = 256 * 1024;
/// Messages that a pull consumer asks for at once.
const PULL_BATCH: i64 = 5_000;

/// A running server.
pub(crate) struct Nats {
    /// Its process.
    pub(crate) server: Server,
    address: String,
    authority: PathBuf,
}

/// How a stream is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reading {
    /// Ordered push consumer.
    Push,
    /// Ordered pull consumer.
    Pull,
}

impl Nats {
    /// Starts one in an empty folder.
    pub(crate) async fn start(tls: &Tls) -> Result<Self> {
        Self::start_in(Server::folder()?, tls).await
    }

    /// Starts one with the streams of a folder, and waits until a client is welcome.
    pub(crate) async fn start_in(folder: TempDir, tls: &Tls) -> Result<Self> {
        let configuration = folder.path().join("nats.conf");
        fs::write(&configuration, configured(folder.path(), tls))?;
        let server = Server::start(Path::new("nats-server"), &["-c".to_owned(), configuration.to_string_lossy().into_owned()], folder)?;
        let ports = server.path().join(format!("nats-server_{}.ports", server.process()));
        let address =
            poll(STARTS_WITHIN, async || address_in(&ports)).await.map_err(|error| anyhow!("{error}: {}", server.last_words()))?;
        let nats = Self { server, address, authority: tls.authority() };
        poll(STARTS_WITHIN, async || nats.connect().await.ok()).await?;
        Ok(nats)
    }

    /// A connection of its own.
    pub(crate) async fn connect(&self) -> Result<Client> {
        let options = ConnectOptions::new().require_tls(true).add_root_certificates(self.authority.clone());
        let options = options.subscription_capacity(SUBSCRIPTION_CAPACITY).connection_timeout(Duration::from_secs(60));
        Ok(options.request_timeout(Some(Duration::from_secs(60))).connect(&self.address).await?)
    }

    /// A connection of its own for streams.
    pub(crate) async fn context(&self) -> Result<Context> {
        Ok(jetstream::new(self.connect().await?))
    }

    /// Makes a stream for each owner: one replica in files, nothing discarded.
    pub(crate) async fn make_streams(&self, owners: usize) -> Result<()> {
        let context = self.context().await?;
        for owner in 0..owners {
            let config = Config { name: stream(owner), subjects: vec![format!("q{owner}.>")], ..Config::default() };
            let config = Config { storage: StorageType::File, num_replicas: 1, discard: DiscardPolicy::New, ..config };
            context.create_stream(config).await?;
        }
        Ok(())
    }

    /// Publishes from `owners` connections at once, each to its own stream, and waits for every answer.
    pub(crate) async fn publish(&self, owners: usize, publishing: Publishing) -> Result<Load> {
        let mut tasks = JoinSet::new();
        for owner in 0..owners {
            let context = self.context().await?;
            tasks.spawn(async move { publish(&context, owner, publishing).await });
        }
        together(tasks).await
    }

    /// Reads so many messages of an owner's stream with a fresh consumer; gives the bytes of them.
    pub(crate) async fn read(&self, how: Reading, deliver_policy: DeliverPolicy, count: u64) -> Result<u64> {
        let context = self.context().await?;
        let stream = context.get_stream(stream(0)).await?;
        // Only for what is last of each subject a filter must be named; this one lets everything through.
        let filter_subject = if deliver_policy == DeliverPolicy::LastPerSubject { "q0.>".to_owned() } else { String::new() };
        match how {
            Reading::Push => {
                let deliver_subject = context.client().new_inbox();
                let consumer = stream
                    .create_consumer(push::OrderedConfig { deliver_subject, deliver_policy, filter_subject, ..Default::default() })
                    .await?;
                drain(consumer.messages().await?, count).await
            }
            Reading::Pull => {
                let consumer = stream
                    .create_consumer(pull::OrderedConfig { deliver_policy, filter_subject, max_batch: PULL_BATCH, ..Default::default() })
                    .await?;
                drain(consumer.messages().await?, count).await
            }
        }
    }
}

/// Name of an owner's stream.
pub(crate) fn stream(owner: usize) -> String {
    format!("Q{owner}")
}

/// Publishes to the stream of an owner.
pub(crate) async fn publish(context: &Context, owner: usize, publishing: Publishing) -> Result<Load> {
    match publishing.in_flight {
        0 | 1 => one_at_a_time(context, owner, publishing).await,
        _ => pipelined(context, owner, publishing).await,
    }
}

async fn one_at_a_time(context: &Context, owner: usize, publishing: Publishing) -> Result<Load> {
    let body = Bytes::from(payload(publishing.size, owner as u64));
    let mut load = Load::new();
    while publishing.bound.allows(load.messages) {
        let started = Instant::now();
        context.publish(subject(owner, load.messages % publishing.records), body.clone()).await?.await?;
        load.answered(started.elapsed());
    }
    Ok(load)
}

/// One side sends, the other waits for the answers in their order; the channel between them bounds what is in flight.
async fn pipelined(context: &Context, owner: usize, publishing: Publishing) -> Result<Load> {
    let body = Bytes::from(payload(publishing.size, owner as u64));
    let (sent, mut waiting) = mpsc::channel::<(Instant, PublishAckFuture)>(publishing.in_flight - 1);
    let sending = async move {
        let mut count = 0;
        while publishing.bound.allows(count) {
            let place = sent.reserve().await?;
            let started = Instant::now();
            place.send((started, context.publish(subject(owner, count % publishing.records), body.clone()).await?));
            count += 1;
        }
        anyhow::Ok(())
    };
    let answering = async move {
        let mut load = Load::new();
        while let Some((started, answer)) = waiting.recv().await {
            answer.await?;
            load.answered(started.elapsed());
        }
        anyhow::Ok(load)
    };
    Ok(tokio::try_join!(sending, answering)?.1)
}

fn subject(owner: usize, record: u64) -> String {
    format!("q{owner}.{record}")
}

async fn drain<E: std::error::Error + Send + Sync + 'static>(
    mut messages: impl StreamExt<Item = Result<jetstream::Message, E>> + Unpin,
    count: u64,
) -> Result<u64> {
    let mut bytes = 0;
    for at in 0..count {
        let next = tokio::time::timeout(SILENCE_MAX, messages.next()).await;
        let message = next.with_context(|| format!("silence after {at} of {count}"))?.context("the consumer ended")??;
        bytes += message.payload.len() as u64;
    }
    Ok(bytes)
}

/// JetStream 2.9 answers when the message is in a file of the page cache; it syncs every 60 seconds and cannot be told to before it answers.
fn configured(folder: &Path, tls: &Tls) -> String {
    let (folder, certificate, key) = (folder.display(), tls.certificate(), tls.key());
    let (certificate, key) = (certificate.display(), key.display());
    [
        "host: \"127.0.0.1\"\nport: -1\nmax_connections: 100000\nmax_pending: 512MB\nwrite_deadline: \"60s\"".to_owned(),
        format!("ports_file_dir: \"{folder}\""),
        format!("tls {{ cert_file: \"{certificate}\", key_file: \"{key}\", timeout: 60 }}"),
        format!("jetstream {{ store_dir: \"{folder}/streams\", max_mem: 1GB, max_file: 200GB }}\n"),
    ]
    .join("\n")
}

fn address_in(ports: &Path) -> Option<String> {
    let ports: serde_json::Value = serde_json::from_slice(&fs::read(ports).ok()?).ok()?;
    let address = ports["nats"][0].as_str()?;
    Some(format!("tls://{}", address.rsplit_once('/')?.1))
}
