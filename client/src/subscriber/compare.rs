//! What other brokers show beside the route that serves: the reader goes to the first that has more. [P-13]

use tidings_core::reader::Verdict;
use tidings_proto::Reply;

use super::glimpse::Glimpse;
use super::probe::Probed;
use super::standing::AHEAD;
use super::task::Task;
use crate::state::StateError;

impl Task {
    pub(super) async fn probed(&mut self, probed: Probed) -> Result<(), StateError> {
        match probed {
            Probed::Due => {
                let (key, subscribe) = self.look_at(|following| (following.reader().pseudonym_key(), following.look()));
                self.probe.ask(self.at, &key, &subscribe);
                Ok(())
            }
            Probed::Seen(glimpse) => self.seen(glimpse).await,
            Probed::Over => self.compared().await,
        }
    }

    /// Goes there if that leads on.
    async fn seen(&mut self, glimpse: Glimpse) -> Result<(), StateError> {
        let (is_storage, now, max_age) = (self.is_storage(), (self.config.clock)(), self.config.max_age);
        if !self.look_at(|following| glimpse.leads_on(following.reader(), is_storage, (now, max_age))) {
            return Ok(());
        }
        // The owner's word counts from whomever it comes.
        if let Some(pulse) = glimpse.pulse {
            self.step(move |following| following.take(vec![Reply::Pulse(pulse)], now, None)).await??;
        }
        self.leave();
        (self.at, self.restarts) = (glimpse.at, 0);
        self.subscribe(glimpse.connection).await
    }

    /// No other broker has more. The storage may.
    async fn compared(&mut self) -> Result<(), StateError> {
        self.probe.over(self.is_storage());
        let storage = self.routes.iter().position(|route| route.is_storage);
        match storage.filter(|_| !self.is_storage() && self.opinion.stays_ahead()) {
            Some(storage) => {
                self.leave();
                self.keep_part().await?;
                self.round.note(Verdict::Stale, AHEAD.into());
                self.dial(storage).await
            }
            None => self.judge_view().await,
        }
    }
}
