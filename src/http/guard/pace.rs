//! How often something may be done: so many times a second, and some more at once after a rest.

use tokio::time::Instant;

/// Permits that come back with time.
#[derive(Debug)]
pub(super) struct Pace {
    permits: f64,
    at: Instant,
    burst: f64,
    each_second: f64,
}

impl Pace {
    /// `burst` permits now, and `each_second` more a second, up to `burst`.
    pub(super) fn new(burst: u32, each_second: u32) -> Self {
        let burst = f64::from(burst);
        Self { permits: burst, at: Instant::now(), burst, each_second: f64::from(each_second) }
    }

    /// Takes a permit, if there is one.
    pub(super) fn take(&mut self) -> bool {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.permits = (self.permits + passed * self.each_second).min(self.burst);
        let granted = self.permits >= 1.0;
        if granted {
            self.permits -= 1.0;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn permits_come_back_with_time_and_never_more_than_a_burst() {
        let mut pace = Pace::new(3, 2);
        let take = |pace: &mut Pace| (0..10).filter(|_| pace.take()).count();
        assert_eq!(take(&mut pace), 3);
        advance(Duration::from_secs(1)).await;
        assert_eq!(take(&mut pace), 2);
        advance(Duration::from_secs(3600)).await;
        assert_eq!(take(&mut pace), 3);
    }
}
