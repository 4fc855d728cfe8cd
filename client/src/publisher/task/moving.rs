//! Other brokers: new ones are brought on, those that are left get the closed head once somebody else holds everything. [P-13]

use std::time::Duration;

use tidings_proto::caps::LOCATOR_BYTES_MAX;
use tidings_proto::{BrokerAddress, HeadNumber};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::super::error::MoveError;
use super::super::lines::{Line, Way};
use super::super::moving::Moved;
use super::super::status::BrokerState;
use super::Task;
use crate::clock;
use crate::state::StateError;

type Done = oneshot::Sender<Result<Moved, MoveError>>;

/// How long nothing is signed because a broker that is left does not take the closed head.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);

/// A change of brokers that is under way.
pub(super) struct Moving {
    stage: Stage,
    until: Instant,
    patience: Duration,
    /// What grants are to name when it is done.
    locator: String,
    before: Before,
    moved: Moved,
    done: Done,
}

/// What there was, if nothing comes of it.
#[derive(Default)]
struct Before {
    brokers: Vec<BrokerAddress>,
    locator: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A broker that stays has to hold the newest head: nobody is told of a place that may never have it.
    Filling,
    /// Grants have to name the new places, and a broker that stays has to hold them.
    Telling,
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
        let before = std::mem::replace(&mut self.config.brokers, brokers);
        self.order_ways();
        let receipts = self.receipts();
        let step = self.step(move |owner| {
            owner.receipts = receipts;
            owner.locator.clone()
        });
        let before = match step.await {
            Ok(locator) => Before { brokers: before, locator },
            Err(error) => return drop(done.send(Err(error.into()))),
        };
        let until = Instant::now() + patience;
        self.moving = Some(Moving { stage: Stage::Filling, until, patience, locator, before, moved: Moved::default(), done });
        (self.due, self.untellable) = (true, false);
    }

    /// Puts the brokers in the order of the configuration, those that are left last, and lists them.
    fn order_ways(&mut self) {
        let brokers = &self.config.brokers;
        let place = |way: &Way| brokers.iter().position(|address| *address == way.address).unwrap_or(usize::MAX);
        self.lines.ways_mut().sort_by_key(place);
        self.list_brokers();
    }

    /// Lists the brokers that there are now.
    fn list_brokers(&self) {
        self.shared.list(self.lines.ways().iter().map(|way| way.address.clone()).collect());
    }

    /// Takes the steps of a change of brokers that are due, and tells readers of other places if they are to be told.
    pub(super) async fn go_on_moving(&mut self) -> Result<(), StateError> {
        self.tell_places().await?;
        while self.step_of_moving().await? {
            self.tell_places().await?;
        }
        Ok(())
    }

    /// Seals all grants anew if they do not name the places that they are to name: after a change of brokers, and where one was
    /// interrupted or the configuration is another one than the last time. [P-13]
    async fn tell_places(&mut self) -> Result<(), StateError> {
        let heard = self.lines.any_up() || self.moving.is_some() || self.snapshots.alone;
        if !self.telling || self.untellable || !heard || !self.comparing.is_open() || self.is_closing() {
            return Ok(());
        }
        let now = clock::now();
        let told = self.step(move |owner| owner.grant_anew(now)).await?;
        self.due = true;
        let Err(error) = told else { return Ok(()) };
        // Repeated at the next start, or with the next change of brokers.
        self.untellable = true;
        self.shared.fail(&error);
        if self.moving.is_some() {
            self.stay().await?;
            self.end_moving(|_| Err(error.into()));
        }
        Ok(())
    }

    /// True if there is a next step, which may be due.
    async fn step_of_moving(&mut self) -> Result<bool, StateError> {
        let Some(moving) = &self.moving else { return Ok(false) };
        let (stage, late) = (moving.stage, moving.until <= Instant::now());
        let (open, leaves) = (self.comparing.is_open(), self.lines.ways().iter().any(|way| way.leaving));
        match stage {
            Stage::Filling if open && (!leaves || self.is_filled()) && (late || !self.is_refilling_left()) => {
                self.begin_telling(leaves).await.map(|()| true)
            }
            Stage::Telling if open && !self.telling && self.is_filled() => self.close_for_leaving().await,
            Stage::Filling | Stage::Telling if late => {
                self.stay().await?;
                self.end_moving(|_| Err(MoveError::NotHeld));
                Ok(true)
            }
            Stage::Closing(number) => self.drop_informed(number, late).await.map(|()| false),
            Stage::Filling | Stage::Telling => Ok(false),
        }
    }

    /// Somebody who stays holds the newest head; nobody has to if all are left.
    fn is_filled(&self) -> bool {
        let newest = self.watched.mark.borrow().signed.number;
        let mut staying = self.lines.ways().iter().filter(|way| !way.leaving).peekable();
        let holds = |way: &Way| matches!(&way.line, Line::Up(up) if up.session.holds(newest));
        staying.peek().is_none() || staying.any(holds)
    }

    /// One that is left is being refilled: the closed head would have to wait for that, and everything else for the closed head.
    fn is_refilling_left(&self) -> bool {
        let refilled = |way: &Way| matches!(&way.line, Line::Up(up) if up.session.state() == BrokerState::Transferring);
        self.lines.ways().iter().any(|way| way.leaving && refilled(way))
    }

    /// What grants name from now on. While a broker is left they name it behind the new ones: who reads there learns where the queue
    /// goes, and is sent nowhere before it is closed. [P-13]
    async fn begin_telling(&mut self, leaves: bool) -> Result<(), StateError> {
        let Some(moving) = &mut self.moving else { return Ok(()) };
        moving.stage = Stage::Telling;
        let (locator, left) = (moving.locator.clone(), self.lines.ways().iter().filter(|way| way.leaving));
        let left: Vec<String> = left.map(|way| way.address.to_string()).collect();
        self.step(move |owner| {
            if !leaves {
                owner.locator = locator;
            } else if !names_brokers_of(owner.told.as_deref().unwrap_or_default(), &locator) {
                owner.locator = with_brokers(locator, &left);
            }
        })
        .await
    }

    /// True if nobody has to be left.
    async fn close_for_leaving(&mut self) -> Result<bool, StateError> {
        let leaving = self.lines.ways().iter().any(|way| way.leaving);
        let signed = self.watched.mark.borrow().signed.number > HeadNumber::ZERO;
        if !leaving || !signed {
            self.lines.ways_mut().retain(|way| !way.leaving);
            self.list_brokers();
            self.arrive().await?;
            return Ok(true);
        }
        let now = clock::now();
        match self.step(move |owner| owner.close(now)).await? {
            Ok(number) => {
                if let Some(moving) = &mut self.moving {
                    (moving.stage, moving.until) = (Stage::Closing(number), Instant::now() + moving.patience.min(CLOSED_WITHIN));
                }
                self.due = true;
            }
            Err(error) => self.end_moving(|_| Err(error.into())),
        }
        Ok(false)
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
            Ok(()) => self.arrive().await?,
            Err(error) => self.end_moving(|_| Err(error.into())),
        }
        self.due = true;
        Ok(())
    }

    /// The brokers are those that were asked for: grants name no others any more.
    async fn arrive(&mut self) -> Result<(), StateError> {
        let Some(Moving { moved, done, locator, .. }) = self.moving.take() else { return Ok(()) };
        self.step(move |owner| owner.locator = locator).await?;
        self.tell_places().await?;
        let _ = done.send(Ok(moved));
        Ok(())
    }

    /// Nobody is left. Where somebody was to be, grants name again what they named.
    async fn stay(&mut self) -> Result<(), StateError> {
        let Some(Moving { locator, before, .. }) = &mut self.moving else { return Ok(()) };
        let (locator, before) = (std::mem::take(locator), std::mem::take(before));
        let left = self.lines.ways().iter().any(|way| way.leaving);
        self.lines.ways_mut().iter_mut().for_each(|way| way.leaving = false);
        let new = self.config.brokers.iter().filter(|address| !before.brokers.contains(address)).cloned();
        self.config.brokers = before.brokers.iter().cloned().chain(new).collect();
        self.order_ways();
        let receipts = self.receipts();
        self.step(move |owner| {
            owner.receipts = receipts;
            owner.locator = if left { before.locator } else { locator };
        })
        .await
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

/// Whether `told` names all brokers that `locator` names.
fn names_brokers_of(told: &str, locator: &str) -> bool {
    locator.split(' ').filter(|place| place.starts_with("tidings://")).all(|place| told.split(' ').any(|known| known == place))
}

/// `locator` with these behind, as far as there is room.
fn with_brokers(locator: String, brokers: &[String]) -> String {
    brokers.iter().fold(locator, |locator, broker| match format!("{locator} {broker}") {
        longer if longer.len() <= LOCATOR_BYTES_MAX => longer,
        _ => locator,
    })
}
