use super::*;

fn declared(origin: &str) -> Declared {
    Declared {
        listener: "pg".into(),
        origin: origin.into(),
        limit: None,
        expires: None,
    }
}

fn text(meters: &Meters) -> String {
    String::from_utf8(meters.render().unwrap()).unwrap()
}

#[test]
fn children_exist_at_zero_from_the_load_and_go_with_their_origin() {
    let meters = Meters::new("0", "none").unwrap();
    meters.declare(&[declared("shop"), declared("blog")]);
    meters.decision("pg", Some("blog"), true, "allowed");
    let before = text(&meters);
    assert!(
        before.contains("doorward_flights_total{listener=\"pg\",origin=\"shop\"} 0"),
        "{before}"
    );
    assert!(before.contains("origin=\"blog\",reason=\"allowed\""));
    meters.declare(&[declared("shop")]);
    let after = text(&meters);
    assert!(after.contains("origin=\"shop\""));
    assert!(!after.contains("blog"), "{after}");
}
