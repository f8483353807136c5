use flows::{
    diff::diff,
    model::{Action, Field, Match, MatchField, OfPort, Purpose, TableId},
    ofp::{FlowModCommand, OfpError},
};

use super::*;

fn flow(port: u32) -> Flow {
    let fields = [MatchField::exact(Field::IN_PORT, port.into())];
    let key = FlowKey { table: TableId(0), priority: 65534, matching: Match::new(fields) };
    Flow::new(key, Cookie::new(Purpose::FromPod, OfPort(port)), vec![Action::output(OfPort(9))])
}

fn repair(desired: &[Flow], observed: &[Flow], refusals: &Refusals, now: Instant) -> Repair {
    let set = |flows: &[Flow]| flows.iter().cloned().collect();
    Repair::new(diff(&set(desired), &set(observed)), refusals, &mut Fights::default(), now)
}

fn refusal() -> RequestError {
    // OFPFMFC_TABLE_FULL.
    let error = OfpError { kind: 5, code: 1, experimenter: 0, data: bytes::Bytes::new() };
    RequestError::Switch(error)
}

#[test]
fn what_is_too_many_goes_before_what_is_missing_comes() {
    let repair =
        repair(&[flow(3), flow(4)], &[flow(2), flow(3)], &Refusals::default(), Instant::now());
    let commands: Vec<_> =
        repair.flow_mods().map(|change| (change.command, change.flow.key)).collect();
    assert_eq!(
        commands,
        [(FlowModCommand::DeleteStrict, flow(2).key), (FlowModCommand::Add, flow(4).key)]
    );
    assert_eq!((repair.len(), repair.missing()), (2, 1));
    assert_eq!(repair.install_at(0), None, "that is a deletion");
    assert_eq!(repair.install_at(1), Some(&flow(4)));
}

#[test]
fn a_deletion_spares_a_flow_that_somebody_else_put_in_the_place_of_ours() {
    let repair = repair(&[], &[flow(2)], &Refusals::default(), Instant::now());
    let deletion = repair.flow_mods().next().unwrap();
    assert_eq!((deletion.flow.cookie, deletion.cookie_mask), (Cookie::OURS, Cookie::TAG_MASK));
}

#[test]
fn when_all_is_as_it_should_be_there_is_nothing_to_repair() {
    let repair = repair(&[flow(2)], &[flow(2)], &Refusals::default(), Instant::now());
    assert!(repair.is_empty());
    assert_eq!((repair.len(), repair.missing()), (0, 0));
}

#[test]
fn a_refused_flow_is_left_out_for_30_s_and_the_others_go_on() {
    let (now, desired) = (Instant::now(), [flow(2), flow(3)]);
    let mut refusals = Refusals::default();
    assert!(refusals.note(&flow(2), &refusal(), now), "news");
    assert!(!refusals.note(&flow(2), &refusal(), now), "no news");
    let left = repair(&desired, &[], &refusals, now);
    assert_eq!(left.install_at(0), Some(&flow(3)));
    assert_eq!((left.len(), left.missing()), (1, 2), "it is missing all the same");
    let texts: Vec<_> = refusals.texts().collect();
    assert_eq!(texts.len(), 1);
    assert!(
        texts[0].contains("OFPFMFC_TABLE_FULL: cookie=0x6f666d7210000002,table=0"),
        "{texts:?}"
    );

    assert!(!refusals.expire(now + REFUSED - Duration::from_millis(1)));
    assert!(refusals.contains(&flow(2).key));
    assert!(refusals.expire(now + REFUSED));
    assert_eq!(repair(&desired, &[], &refusals, now).len(), 2);
}

#[test]
fn a_new_switch_is_asked_for_everything() {
    let mut refusals = Refusals::default();
    refusals.note(&flow(2), &refusal(), Instant::now());
    refusals.clear();
    assert!(!refusals.contains(&flow(2).key));
}

#[test]
fn what_the_switch_refused_did_not_take_effect() {
    let repair = repair(&[flow(3), flow(4)], &[flow(2)], &Refusals::default(), Instant::now());
    let refused = HashSet::from([1]);
    let effective: Vec<_> = repair.effective(&refused).cloned().collect();
    assert_eq!(effective, [Change::Delete(flow(2).key, flow(2).cookie), Change::Install(flow(4))]);
}

#[test]
fn a_change_that_somebody_undoes_again_and_again_is_left_out_for_a_while_and_the_others_are_made() {
    let (now, mut fights) = (Instant::now(), Fights::default());
    let set = |flows: &[Flow]| flows.iter().cloned().collect();
    let changes = |desired: &[Flow], observed: &[Flow]| diff(&set(desired), &set(observed));
    let none = Refusals::default();
    // Somebody removes one and installs another that looks like ours.
    let (ours, theirs) = ([flow(3)], [flow(2)]);
    let mut made = 0;
    for _ in 0..1000 {
        let changes = changes(&ours, &theirs);
        let repair = Repair::new(changes, &none, &mut fights, now);
        assert_eq!(repair.missing(), 1, "whether it is put back or not");
        made += repair.len();
        fights.made(repair.effective(&HashSet::new()), now);
    }
    assert_eq!(made, 2 * 7);
    let told = fights.problem().unwrap();
    assert!(told.starts_with("our flows: somebody else installs cookie=0x6f666d72"), "{told}");
    let changes = changes(&[flow(3), flow(4)], &[]);
    let repair = Repair::new(changes, &none, &mut fights, now);
    assert_eq!(repair.effective(&HashSet::new()).collect::<Vec<_>>(), [&Change::Install(flow(4))]);
    assert!(fights.look(now + Duration::from_secs(9)));
    assert!(!fights.look(now + Duration::from_secs(10)) && fights.problem().is_none());
}

#[test]
fn what_we_install_and_take_away_ourselves_is_no_fight() {
    let (now, mut fights, none) = (Instant::now(), Fights::default(), Refusals::default());
    let (install, delete) = (Change::Install(flow(2)), Change::Delete(flow(2).key, flow(2).cookie));
    for _ in 0..100 {
        for change in [&install, &delete] {
            let repair = Repair::new(vec![change.clone()], &none, &mut fights, now);
            assert_eq!(repair.len(), 1);
            fights.made(repair.effective(&HashSet::new()), now);
        }
    }
    assert!(!fights.are_on());
}
