//! The first stream of a connection: greetings, then proofs of keys.

use tidings_core::{NodeKey, PseudonymKey};
use tidings_proto::frames::{Hello, Prove, Welcome};
use tidings_proto::{Reply, Request, VerifyingKey};
use tokio::sync::{mpsc, oneshot};

use super::error::ConnectionError;
use super::stream::{ReplyReceiver, RequestSender, gone};

/// A key that can be proven on a connection. [P-18]
pub trait Provable {
    /// The public half.
    fn key(&self) -> VerifyingKey;
    /// Signature over the connection's exporter and the key.
    fn proof(&self, exporter: &[u8; 32]) -> [u8; 64];
}

impl Provable for NodeKey {
    fn key(&self) -> VerifyingKey {
        self.verifying_key()
    }

    fn proof(&self, exporter: &[u8; 32]) -> [u8; 64] {
        self.prove(exporter)
    }
}

impl Provable for PseudonymKey {
    fn key(&self) -> VerifyingKey {
        VerifyingKey::new(*self.pseudonym().bytes())
    }

    fn proof(&self, exporter: &[u8; 32]) -> [u8; 64] {
        self.prove(exporter)
    }
}

type Answer = Result<(), ConnectionError>;

/// Where proofs are handed to the task that owns the control stream.
#[derive(Debug)]
pub(super) struct Control {
    proofs: mpsc::Sender<(Prove, oneshot::Sender<Answer>)>,
}

impl Control {
    /// Greets on a fresh control stream and starts the task that owns it from then on.
    pub(super) async fn start(
        mut requests: RequestSender,
        mut replies: ReplyReceiver,
        software: String,
    ) -> Result<(Self, Welcome), ConnectionError> {
        requests.send(Request::Hello(Hello { software })).await?;
        let welcome = match replies.receive().await? {
            Reply::Welcome(welcome) => welcome,
            Reply::Refused(refusal) => return Err(refusal.into()),
            _ => return Err(ConnectionError::Protocol("the greeting was not answered with one".into())),
        };
        let (proofs, queue) = mpsc::channel(16);
        tokio::spawn(run(queue, requests, replies));
        Ok((Self { proofs }, welcome))
    }

    /// Sends a proof and waits for its answer. Cancelled, the answer is dropped and no other is taken for it.
    pub(super) async fn prove(&self, proof: Prove) -> Answer {
        let (sender, answer) = oneshot::channel();
        self.proofs.send((proof, sender)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// One proof after the other, until the connection's last handle is dropped or the stream fails.
async fn run(mut queue: mpsc::Receiver<(Prove, oneshot::Sender<Answer>)>, mut requests: RequestSender, mut replies: ReplyReceiver) {
    while let Some((proof, answer)) = queue.recv().await {
        let outcome = exchange(proof, &mut requests, &mut replies).await;
        let ends = matches!(outcome, Err(ConnectionError::Closed { .. } | ConnectionError::Protocol(_)));
        // Whoever asked may have gone away meanwhile.
        let _ = answer.send(outcome);
        if ends {
            return;
        }
    }
}

async fn exchange(proof: Prove, requests: &mut RequestSender, replies: &mut ReplyReceiver) -> Answer {
    let key = proof.key;
    requests.send(Request::Prove(proof)).await?;
    match replies.receive().await? {
        Reply::Proven(proven) if proven == key => Ok(()),
        Reply::Refused(refusal) => Err(refusal.into()),
        _ => Err(ConnectionError::Protocol("a proof was not answered with one".into())),
    }
}
