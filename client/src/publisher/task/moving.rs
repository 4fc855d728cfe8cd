//! Other brokers: new ones are brought on, those that are left get the closed head once somebody else holds everything. [P-13]

use std::time::Duration;

use tidings_proto::{BrokerAddress, HeadNumber};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::super::error::MoveError;
use super::super::lines::{Line, Way};
use super::super::moving::Moved;
use super::super::owner::Owner;
use super::super::status::BrokerState;
use super::Task;
use crate::clock;
use crate::state::StateError;

type Done = oneshot::Sender<Result<Moved, MoveError>>;

/// A change of brokers that is under way.
pub(super) struct Moving {
    stage: Stage,
    until: Instant,
    moved: Moved,
    done: Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Grants have to name the new places.
    Granting,
    /// A broker that stays has to hold the newest head.
    Filling,
    /// Those that are left have to hold the closed head of this number.
    Closing(HeadNumber),
}

/// Waits until a change of brokers takes too long. Safe to cancel.
pub(super) async fn late(moving: Option<&Moving>) {
    match moving {
        Some(moving) if moving.until > Instant::now() => sleep_until(moving.until).await,
        _ => std::future::pending().await,
    }
}

impl Task {
    /// Nothing is signed between the closed head and its receipts.
    pub(super) fn is_closing(&self) -> bool {
        self.moving.as_ref().is_some_and(|moving| matches!(moving.stage, Stage::Closing(_)))
    }

    pub(super) async fn begin_moving(&mut self, brokers: Vec<BrokerAddress>, locator: String, patience: Duration, done: Done) {
        if self.moving.is_some() {
            return drop(done.send(Err(MoveError::Busy)));
        }
        for way in self.lines.ways_mut() {
            way.leaving = !brokers.contains(&way.address);
        }
        let known: Vec<BrokerAddress> = self.lines.ways().iter().map(|way| way.address.clone()).collect();
        let new = brokers.iter().filter(|address| !known.contains(address));
        self.lines.ways_mut().extend(new.cloned().map(Way::new));
        let place = |way: &Way| brokers.iter().position(|address| *address == way.address).unwrap_or(usize::MAX);
        self.lines.ways_mut().sort_by_key(place);
        self.config.brokers = brokers;
        self.list_brokers();
        let receipts = self.receipts();
        let set = self
            .step(move |owner| {
                owner.receipts = receipts;
                owner.set_locator(locator)
            })
            .await;
        let stage = if set.unwrap_or(true) { Stage::Granting } else { Stage::Filling };
        self.moving = Some(Moving { stage, until: Instant::now() + patience, moved: Moved::default(), done });
        self.due = true;
    }

    /// Lists the brokers that there are now.
    fn list_brokers(&self) {
        self.shared.list(self.lines.ways().iter().map(|way| way.address.clone()).collect());
    }

    /// Takes the next step of a change of brokers, if it is due.
    pub(super) async fn go_on_moving(&mut self) -> Result<(), StateError> {
        let Some(moving) = &self.moving else { return Ok(()) };
        let (stage, late) = (moving.stage, moving.until <= Instant::now());
        match stage {
            Stage::Granting | Stage::Filling if late => self.give_up_moving().await?,
            Stage::Granting if self.comparing.is_open() => {
                let now = clock::now();
                match self.step(move |owner| owner.grant_anew(now)).await? {
                    Ok(()) => self.moving_goes_on(Stage::Filling),
                    Err(error) => self.end_moving(|_| Err(error.into())),
                }
            }
            Stage::Filling if self.comparing.is_open() && self.is_filled() => self.close_for_leaving().await?,
            Stage::Closing(number) => self.drop_informed(number, late).await?,
            Stage::Granting | Stage::Filling => {}
        }
        Ok(())
    }

    fn moving_goes_on(&mut self, stage: Stage) {
        if let Some(moving) = &mut self.moving {
            moving.stage = stage;
        }
        self.due = true;
    }

    /// Somebody who stays holds the newest head; nobody has to if all are left.
    fn is_filled(&self) -> bool {
        let newest = self.watched.mark.borrow().signed.number;
        let mut staying = self.lines.ways().iter().filter(|way| !way.leaving).peekable();
        let holds = |way: &Way| matches!(&way.line, Line::Up(up) if up.session.holds(newest));
        staying.peek().is_none() || staying.any(holds)
    }

    async fn close_for_leaving(&mut self) -> Result<(), StateError> {
        let leaving = self.lines.ways().iter().any(|way| way.leaving);
        let signed = self.watched.mark.borrow().signed.number > HeadNumber::ZERO;
        if !leaving || !signed {
            self.lines.ways_mut().retain(|way| !way.leaving);
            self.list_brokers();
            self.end_moving(Ok);
            return Ok(());
        }
        let now = clock::now();
        match self.step(move |owner| owner.close(now)).await? {
            Ok(number) => self.moving_goes_on(Stage::Closing(number)),
            Err(error) => self.end_moving(|_| Err(error.into())),
        }
        Ok(())
    }

    async fn drop_informed(&mut self, number: HeadNumber, late: bool) -> Result<(), StateError> {
        let Some(moving) = &mut self.moving else { return Ok(()) };
        let informed = |way: &Way| matches!(&way.line, Line::Up(up) if up.session.holds(number));
        for way in self.lines.ways_mut().extract_if(.., |way| way.leaving && (late || informed(way))) {
            let into = if informed(&way) { &mut moving.moved.informed } else { &mut moving.moved.uninformed };
            self.shared.broker(&way.address, BrokerState::Closed, String::new());
            into.push(way.address);
        }
        if self.lines.ways().iter().any(|way| way.leaving) {
            return Ok(());
        }
        self.list_brokers();
        let (now, goes_on) = (clock::now(), !self.lines.ways().is_empty());
        match self.step(move |owner| owner.reopen(goes_on, now)).await? {
            Ok(()) => self.end_moving(Ok),
            Err(error) => self.end_moving(|_| Err(error.into())),
        }
        self.due = true;
        Ok(())
    }

    /// Nobody who stays holds everything: nobody is left.
    async fn give_up_moving(&mut self) -> Result<(), StateError> {
        self.lines.ways_mut().iter_mut().for_each(|way| way.leaving = false);
        self.config.brokers = self.lines.ways().iter().map(|way| way.address.clone()).collect();
        let receipts = self.receipts();
        self.step(move |owner| owner.receipts = receipts).await?;
        self.end_moving(|_| Err(MoveError::NotHeld));
        Ok(())
    }

    /// How many receipts a publish needs with the brokers that there are now.
    fn receipts(&self) -> usize {
        super::super::receipts(self.config.receipts, self.config.brokers.len())
    }

    fn end_moving(&mut self, answer: impl FnOnce(Moved) -> Result<Moved, MoveError>) {
        if let Some(Moving { moved, done, .. }) = self.moving.take() {
            let _ = done.send(answer(moved));
        }
    }
}

impl Owner {
    /// What grants name from now on; true if that is news.
    fn set_locator(&mut self, locator: String) -> bool {
        std::mem::replace(&mut self.locator, locator) != self.locator
    }
}
