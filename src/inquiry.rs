//! Questions about how things stand, put to the agent's loop by those who serve others, and a sign that the loop goes
//! round.
//!
//! Nothing is made ready for them: whoever asks has to wait until the loop has time, and those who ask within half a
//! second of each other get one answer. So nobody can keep the loop busy with questions.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    time::{Instant, timeout},
};

/// How old an answer may be.
const FRESH: Duration = Duration::from_millis(500);
/// How long the loop may take for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the loop, which goes round once a second, may stand still before it counts as dead.
const STILL: Duration = Duration::from_secs(30);

/// A question, as a place for the answer.
pub type Question<T> = oneshot::Sender<T>;

/// The end of those who ask; all clones share the last answer, as a `U`.
pub struct Inquirer<T, U> {
    questions: mpsc::Sender<Question<T>>,
    pulse: watch::Receiver<Instant>,
    last: Arc<Mutex<Option<Last<U>>>>,
}

/// What came of the last question, and when.
type Last<U> = (Instant, Option<U>);

/// The end of the loop that answers.
pub struct Inquiries<T> {
    questions: mpsc::Receiver<Question<T>>,
    pulse: watch::Sender<Instant>,
}

/// Both ends.
#[must_use]
pub fn channel<T, U>() -> (Inquirer<T, U>, Inquiries<T>) {
    let (ask, questions) = mpsc::channel(1);
    let (beat, pulse) = watch::channel(Instant::now());
    let inquirer = Inquirer { questions: ask, pulse, last: Arc::default() };
    (inquirer, Inquiries { questions, pulse: beat })
}

impl<T> Inquiries<T> {
    /// The next question; none ever comes when nobody is left to ask. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Question<T> {
        match self.questions.recv().await {
            Some(question) => question,
            None => pending().await,
        }
    }

    /// The loop goes round.
    pub fn beat(&self) {
        self.pulse.send_replace(Instant::now());
    }
}

impl<T, U: Clone> Inquirer<T, U> {
    /// An answer of the last half second, or a new one, that `prepare` has made fit for use; none if the loop does not
    /// answer in time, or there is nothing to be made of it.
    pub async fn ask(&self, prepare: impl FnOnce(T) -> Option<U>) -> Option<U> {
        // Whoever comes second waits for the answer that the first gets.
        let mut last = self.last.lock().await;
        if let Some((at, answer)) = &*last
            && at.elapsed() < FRESH
        {
            return answer.clone();
        }
        let answer = timeout(PATIENCE, self.put()).await.ok().flatten().and_then(prepare);
        *last = Some((Instant::now(), answer.clone()));
        answer
    }

    async fn put(&self) -> Option<T> {
        let (question, answer) = oneshot::channel();
        self.questions.send(question).await.ok()?;
        answer.await.ok()
    }

    /// For how long the loop has stood still, if that is too long.
    #[must_use]
    pub fn standstill(&self) -> Option<Duration> {
        Some(self.pulse.borrow().elapsed()).filter(|still| *still > STILL)
    }
}

impl<T, U> Clone for Inquirer<T, U> {
    fn clone(&self) -> Self {
        let (questions, pulse) = (self.questions.clone(), self.pulse.clone());
        Self { questions, pulse, last: Arc::clone(&self.last) }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    /// A loop that tells how often it was asked.
    fn counting() -> Inquirer<u32, u32> {
        let (inquirer, mut inquiries) = channel();
        tokio::spawn(async move {
            for answer in 1.. {
                let _ = inquiries.next().await.send(answer);
            }
        });
        inquirer
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_at_once_get_one_answer_and_later_another() {
        let inquirer = counting();
        let all = (0..50).map(|_| inquirer.ask(Some));
        assert_eq!(futures::future::join_all(all).await, [Some(1); 50]);
        advance(FRESH).await;
        assert_eq!(inquirer.ask(Some).await, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stands_still_keeps_all_who_ask_waiting_once_and_not_each_in_turn() {
        let (inquirer, inquiries) = channel::<u32, u32>();
        let start = Instant::now();
        let all = (0..50).map(|_| inquirer.ask(Some));
        assert_eq!(futures::future::join_all(all).await, [None; 50]);
        assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs());
        drop(inquiries);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stands_still_for_too_long_is_told() {
        let (inquirer, inquiries) = channel::<u32, u32>();
        sleep(STILL).await;
        assert_eq!(inquirer.standstill(), None);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(inquirer.standstill(), Some(STILL + Duration::from_secs(1)));
        inquiries.beat();
        assert_eq!(inquirer.standstill(), None);
    }
}
