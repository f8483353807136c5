use super::*;

const MS: Duration = Duration::from_millis(1);

/// Somebody undoes the one thing at once whenever it was done, for as long as this takes; returns when it was done.
fn fight(backoff: &mut Backoff<&str, u8>, from: Instant, duration: Duration) -> Vec<Duration> {
    let mut done = Vec::new();
    let mut now = from;
    while now < from + duration {
        if backoff.admit(&"arp", &0, now) {
            backoff.done("arp", 0, now);
            done.push(now - from);
        }
        now += 10 * MS;
        backoff.expire(now);
    }
    done
}

#[test]
fn what_is_undone_a_few_times_is_done_over_at_once_each_time() {
    let (mut backoff, start) = (Backoff::default(), Instant::now());
    let times = 1 + PATIENCE;
    for time in 0..times {
        let now = start + time * 100 * MS;
        assert!(backoff.admit(&"arp", &0, now));
        assert!(!backoff.done("arp", 0, now));
        assert_eq!(backoff.fights(), 0);
    }
    // And again, as often as one likes, if there is some time in between.
    for round in 1..20 {
        for time in 0..times {
            let now = start + round * (WINDOW + MS) + time * MS;
            assert!(backoff.admit(&"arp", &0, now));
            assert!(!backoff.done("arp", 0, now));
        }
    }
}

#[test]
fn in_a_fight_pauses_grow_up_to_a_minute() {
    let (mut backoff, start) = (Backoff::default(), Instant::now());
    let done = fight(&mut backoff, start, Duration::from_secs(600));
    let pauses: Vec<_> = done.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert_eq!(pauses[..PATIENCE as usize + 1], [10; PATIENCE as usize + 1]);
    let grown = [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000];
    assert_eq!(pauses[PATIENCE as usize + 1..][..grown.len()], grown);
    assert_eq!(backoff.fights(), 1);
    assert!(backoff.is_fought_over(&"arp") && !backoff.is_fought_over(&"mtu"));
}

#[test]
fn a_fight_is_told_once_and_over_when_nothing_is_undone_any_more() {
    let (mut backoff, start) = (Backoff::<_, u8>::default(), Instant::now());
    let told = (0..=PATIENCE + 3).filter(|_| backoff.done("arp", 0, start)).count();
    assert_eq!((told, backoff.fights()), (1, 1));
    backoff.expire(start + WINDOW - MS);
    assert_eq!(backoff.fights(), 1);
    backoff.expire(start + WINDOW);
    assert_eq!(backoff.fights(), 0);
    assert!(backoff.admit(&"arp", &0, start + WINDOW), "at once, as it was before the fight");
    assert!(!backoff.done("arp", 0, start + WINDOW));
}

#[test]
fn a_fight_goes_on_while_somebody_waits_and_is_over_when_nobody_does_any_more() {
    let (mut backoff, start) = (Backoff::default(), Instant::now());
    let done = fight(&mut backoff, start, Duration::from_secs(40));
    let last = start + *done.last().unwrap();
    let mut now = start + Duration::from_secs(40);
    // For longer than a fight takes to be over.
    while backoff.admit(&"arp", &0, last + Duration::from_secs(31)) {}
    backoff.expire(last + Duration::from_secs(31));
    assert_eq!(backoff.fights(), 1);
    now += Duration::from_secs(60);
    backoff.expire(now);
    assert_eq!(backoff.fights(), 0, "what was wanted is not any more");
}

#[test]
fn what_we_change_our_mind_about_is_no_fight() {
    let (mut backoff, mut now) = (Backoff::default(), Instant::now());
    for what in (0..100).map(|time| time % 2) {
        assert!(backoff.admit(&"hooks", &what, now));
        assert!(!backoff.done("hooks", what, now));
        now += MS;
    }
    assert_eq!(backoff.fights(), 0);
    // Neither is another thing held up by a fight over the first.
    fight(&mut backoff, now, Duration::from_secs(1));
    assert!(backoff.admit(&"mtu", &0, now) && backoff.admit(&"arp", &1, now));
    assert!(!backoff.done("arp", 1, now), "another intention ends the fight");
    assert_eq!(backoff.fights(), 0);
}

#[test]
fn nothing_is_kept_for_ever() {
    let (mut backoff, start) = (Backoff::default(), Instant::now());
    for key in 0..1000 {
        backoff.done(key, 0, start);
    }
    backoff.expire(start + WINDOW);
    assert!(backoff.things.is_empty());
}
