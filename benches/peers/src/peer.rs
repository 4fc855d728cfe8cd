//! The peers behind one face: start, publish, subscribe, kill, start again.

use std::time::Duration;

use anyhow::{Result, anyhow};
use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::push;
use futures_util::stream::{self, BoxStream, StreamExt};
use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};

use crate::load::{Load, Publishing, stamp};
use crate::nats::{self, Nats};
use crate::redis::{self as streams, Redis, Sync};
use crate::server::Server;
use crate::tls::Tls;

/// How long one blocking read of Redis waits before it is repeated.
const BLOCKS_FOR: Duration = Duration::from_secs(100);

/// What is measured.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    /// This broker.
    Tidings,
    /// NATS with a stream in files.
    JetStream,
    /// NATS without a stream: passes on, keeps nothing.
    NatsCore,
    /// Redis Streams, synced before the answer.
    RedisAlways,
    /// Redis Streams, synced once a second.
    RedisEverySecond,
}

/// A running peer.
pub(crate) enum Peer {
    /// See [`System::NatsCore`].
    Core(Nats),
    /// See [`System::JetStream`].
    JetStream(Nats),
    /// See [`System::RedisAlways`].
    Redis(Redis),
}

/// A connection that single messages are published with.
#[derive(Clone)]
pub(crate) enum Announcer {
    /// No answer is waited for: there is none.
    Core(Client),
    /// Waits for the answer.
    JetStream(Context),
    /// Waits for the answer.
    Redis(MultiplexedConnection),
}

/// Stamps of the messages of one subscription, as they come.
pub(crate) type Stamps = BoxStream<'static, Result<u64>>;

impl System {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tidings => "Tidings",
            Self::JetStream => "JetStream",
            Self::NatsCore => "NATS core",
            Self::RedisAlways => "Redis, always",
            Self::RedisEverySecond => "Redis, everysec",
        }
    }

    /// What it promised when it answered a publish.
    pub(crate) fn promised(self) -> &'static str {
        match self {
            Self::Tidings => "synced; sealed and signed",
            Self::JetStream => "in the page cache",
            Self::NatsCore => "nothing",
            Self::RedisAlways => "synced",
            Self::RedisEverySecond => "in the page cache, synced within a second",
        }
    }

    /// Starts it, with streams for so many queues. This broker is started by `tidings`.
    pub(crate) async fn start(self, tls: &Tls, queues: usize) -> Result<Peer> {
        match self {
            Self::Tidings => Err(anyhow!("not a peer")),
            Self::NatsCore => Ok(Peer::Core(Nats::start(tls).await?)),
            Self::RedisAlways => Ok(Peer::Redis(Redis::start(tls, Sync::Always).await?)),
            Self::RedisEverySecond => Ok(Peer::Redis(Redis::start(tls, Sync::EverySecond).await?)),
            Self::JetStream => {
                let nats = Nats::start(tls).await?;
                nats.make_streams(queues).await?;
                Ok(Peer::JetStream(nats))
            }
        }
    }
}

impl Peer {
    /// Its process.
    pub(crate) fn server(&self) -> &Server {
        match self {
            Self::Core(nats) | Self::JetStream(nats) => &nats.server,
            Self::Redis(redis) => &redis.server,
        }
    }

    /// Publishes from `owners` connections and waits for every answer.
    pub(crate) async fn publish(&self, owners: usize, publishing: Publishing) -> Result<Load> {
        match self {
            Self::Core(_) => Err(anyhow!("NATS core answers nothing")),
            Self::JetStream(nats) => nats.publish(owners, publishing).await,
            Self::Redis(redis) => redis.publish(owners, publishing).await,
        }
    }

    /// A connection for single messages.
    pub(crate) async fn announcer(&self) -> Result<Announcer> {
        Ok(match self {
            Self::Core(nats) => Announcer::Core(nats.connect().await?),
            Self::JetStream(nats) => Announcer::JetStream(nats.context().await?),
            Self::Redis(redis) => Announcer::Redis(redis.connect().await?),
        })
    }

    /// Subscribes to a queue from a connection of its own. JetStream: an ordered consumer; Redis: a blocking read after another.
    pub(crate) async fn subscribe(&self, queue: usize) -> Result<Stamps> {
        match self {
            Self::Core(nats) => {
                let client = nats.connect().await?;
                let messages = client.subscribe(subject(queue)).await?;
                client.flush().await?;
                Ok(messages.map(move |message| (stamped(&message.payload), &client).0).boxed())
            }
            Self::JetStream(nats) => {
                let context = nats.context().await?;
                let deliver_subject = context.client().new_inbox();
                let stream = context.get_stream_no_info(nats::stream(queue)).await?;
                let consumer = stream.create_consumer(push::OrderedConfig { deliver_subject, ..Default::default() }).await?;
                let messages = consumer.messages().await?;
                Ok(messages.map(move |message| (stamped(&message?.payload), &context).0).boxed())
            }
            Self::Redis(redis) => Ok(blocking_reads(redis.connect().await?, queue)),
        }
    }

    /// Kills it and starts it with the same folder.
    pub(crate) async fn killed_and_started(self, system: System, tls: &Tls) -> Result<Self> {
        match self {
            Self::Core(_) => Err(anyhow!("NATS core keeps nothing")),
            Self::JetStream(nats) => Ok(Self::JetStream(Nats::start_in(nats.server.kill().await?, tls).await?)),
            Self::Redis(redis) => {
                let sync = if system == System::RedisAlways { Sync::Always } else { Sync::EverySecond };
                Ok(Self::Redis(Redis::start_in(redis.server.kill().await?, tls, sync).await?))
            }
        }
    }
}

impl Announcer {
    /// Publishes one message and waits for the answer, if there is to be one.
    pub(crate) async fn announce(&mut self, queue: usize, body: Vec<u8>) -> Result<()> {
        match self {
            Self::Core(client) => Ok(client.publish(subject(queue), body.into()).await?),
            Self::JetStream(context) => context.publish(subject(queue), body.into()).await?.await.map(drop).map_err(Into::into),
            Self::Redis(connection) => streams::add_one(connection, queue, &body).await,
        }
    }

    /// To be called before it goes: NATS core still holds what was not answered because nothing ever is.
    pub(crate) async fn settle(&self) -> Result<()> {
        if let Self::Core(client) = self {
            client.flush().await?;
        }
        Ok(())
    }
}

fn subject(queue: usize) -> String {
    format!("q{queue}.0")
}

fn stamped(payload: &[u8]) -> Result<u64> {
    stamp(payload).ok_or_else(|| anyhow!("a message without a stamp"))
}

fn blocking_reads(connection: MultiplexedConnection, queue: usize) -> Stamps {
    let reads = stream::unfold((connection, "0".to_owned()), move |(mut connection, mut last)| async move {
        let read = streams::wait(&mut connection, queue, &last, BLOCKS_FOR).await;
        let stamps: Vec<_> = match read {
            Ok(entries) => {
                if let Some((id, _)) = entries.last() {
                    last.clone_from(id);
                }
                entries.iter().map(|(_, value)| stamped(value)).collect()
            }
            Err(error) => vec![Err(error)],
        };
        Some((stream::iter(stamps), (connection, last)))
    });
    reads.flatten().boxed()
}
