use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hyper::{Request, Response, header::HeaderValue};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::advance;
use tower::service_fn;

use super::{super::tls, *};

/// What the API server does with a question.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Api {
    /// Says yes to both questions.
    Allows,
    /// Knows the bearer, who may not.
    Forbids,
    /// Does not know the token.
    KnowsNobody,
    /// Refuses to be asked.
    Refuses,
    /// Answers without saying anything.
    Mumbles,
    /// Never answers.
    Silent,
}

struct Scene {
    guard: Guard,
    api: Arc<Mutex<Api>>,
    asked: Arc<AtomicUsize>,
}

fn answer(api: Api, path: &str) -> Option<(u16, Value)> {
    let kind = if path.contains("tokenreviews") { "TokenReview" } else { "SubjectAccessReview" };
    let status = match (api, kind) {
        (Api::Silent, _) => return None,
        (Api::Refuses, _) => {
            let status = json!({
                "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
                "code": 403, "reason": "Forbidden", "message": "cannot create resource",
            });
            return Some((403, status));
        }
        (Api::Mumbles, _) => Value::Null,
        (Api::KnowsNobody, "TokenReview") => json!({"error": "invalid bearer token"}),
        (_, "TokenReview") => json!({
            "authenticated": true,
            "user": {"username": "prometheus", "groups": ["system:authenticated"]},
        }),
        (api, _) => json!({"allowed": api == Api::Allows}),
    };
    Some((201, json!({"kind": kind, "metadata": {}, "spec": {}, "status": status})))
}

impl Scene {
    fn new(api: Api) -> Self {
        let identity = tls::Identity::new(tls::Source::SelfMade(vec![])).unwrap();
        let guard =
            Guard::new(identity, Config::new("http://127.0.0.1:9".parse().unwrap())).unwrap();
        let scene = Self { guard, api: Arc::new(Mutex::new(api)), asked: Arc::default() };
        let (api, asked) = (Arc::clone(&scene.api), Arc::clone(&scene.asked));
        let service = service_fn(move |request: Request<Body>| {
            asked.fetch_add(1, Ordering::Relaxed);
            let answer = answer(*api.lock().unwrap(), request.uri().path());
            async move {
                let Some((status, body)) = answer else { return std::future::pending().await };
                let response = Response::builder().status(status);
                Ok::<_, Infallible>(
                    response.body(Body::from(body.to_string().into_bytes())).unwrap(),
                )
            }
        });
        assert!(scene.guard.client.set(Client::new(service, "default")).is_ok());
        scene
    }

    fn turn(&self, api: Api) {
        *self.api.lock().unwrap() = api;
    }

    async fn ask(&self, authorization: &str) -> Result<(), Refusal> {
        let value = HeaderValue::from_str(authorization).unwrap();
        self.guard.admit(&HeaderMap::from_iter([(AUTHORIZATION, value)])).await
    }

    /// How many questions the API server has got since the last time.
    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_is_let_in_and_asked_about_once_a_minute() {
    let scene = Scene::new(Api::Allows);
    for _ in 0..2 {
        for _ in 0..6 {
            assert_eq!(scene.ask("Bearer good").await, Ok(()));
            advance(Duration::from_secs(10)).await;
        }
        assert_eq!(scene.asked(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_not_is_told_who_they_are_and_can_try_again_soon() {
    let scene = Scene::new(Api::Forbids);
    let refusal = Refusal::Forbidden("prometheus".to_owned());
    assert_eq!(scene.ask("Bearer good").await, Err(refusal.clone()));
    assert_eq!(scene.ask("Bearer good").await, Err(refusal.clone()));
    assert_eq!(scene.asked(), 2);
    assert!(refusal.text().starts_with("prometheus may not get /metrics"), "{}", refusal.text());
    scene.turn(Api::Allows);
    advance(REFUSED).await;
    assert_eq!(scene.ask("Bearer good").await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_right_that_was_taken_away_ends_within_a_minute() {
    let scene = Scene::new(Api::Allows);
    assert_eq!(scene.ask("Bearer good").await, Ok(()));
    for (now, refusal) in [
        (Api::Forbids, Refusal::Forbidden("prometheus".to_owned())),
        (Api::KnowsNobody, Refusal::Unknown),
    ] {
        scene.turn(now);
        advance(ALLOWED).await;
        assert_eq!(scene.ask("Bearer good").await, Err(refusal));
    }
}

#[tokio::test]
async fn without_a_token_nobody_is_asked() {
    let scene = Scene::new(Api::Allows);
    assert_eq!(scene.guard.admit(&HeaderMap::new()).await, Err(Refusal::NoToken));
    for wrong in ["", "Bearer", "Bearer ", "Basic good", "good", "Bearer\u{e4}"] {
        assert_eq!(scene.ask(wrong).await, Err(Refusal::NoToken), "{wrong:?}");
    }
    assert_eq!(scene.asked(), 0);
    assert_eq!(scene.ask("bearer good").await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_tell_lets_nobody_in() {
    for (api, reason) in [
        (Api::Refuses, "cannot create resource"),
        (Api::Mumbles, "no status of the token"),
        (Api::Silent, "has not answered for 5 s"),
    ] {
        let scene = Scene::new(api);
        for _ in 0..2 {
            let refusal = scene.ask("Bearer good").await.unwrap_err();
            assert_eq!(refusal.status(), 503);
            assert!(refusal.text().contains(reason), "{}", refusal.text());
        }
        scene.turn(Api::Allows);
        assert_eq!(scene.ask("Bearer good").await, Ok(()), "it is not remembered");
        // Who was let in a minute ago is not any more.
        scene.turn(api);
        advance(ALLOWED).await;
        assert!(matches!(scene.ask("Bearer good").await, Err(Refusal::Unavailable(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn made_up_tokens_cost_few_questions_and_keep_out_nobody_who_was_let_in_before() {
    let scene = Scene::new(Api::Allows);
    assert_eq!(scene.ask("Bearer good").await, Ok(()));
    scene.turn(Api::KnowsNobody);
    scene.asked();
    let flood = async |from: usize| {
        for number in from..from + 1000 {
            let refusal = scene.ask(&format!("Bearer made-up-{number}")).await.unwrap_err();
            assert!(matches!(refusal, Refusal::Unknown | Refusal::Busy), "{refusal:?}");
        }
    };
    flood(0).await;
    assert!(scene.asked() <= 2 * BURST as usize);
    assert_eq!(scene.ask("Bearer good").await, Ok(()));
    advance(ALLOWED).await;
    flood(1000).await;
    scene.turn(Api::Allows);
    assert_eq!(scene.ask("Bearer good").await, Ok(()));
    // The same wrong one again and again is asked about once.
    scene.turn(Api::KnowsNobody);
    advance(Duration::from_secs(2)).await;
    scene.asked();
    for _ in 0..100 {
        assert_eq!(scene.ask("Bearer wrong").await, Err(Refusal::Unknown));
    }
    assert_eq!(scene.asked(), 1);
}
