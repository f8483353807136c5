//! A question to the agent by HTTP.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Why there is no answer.
pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;

/// What the agent at `address` answers at `path`: the status, and a body of at most `most` bytes.
///
/// # Errors
/// Nobody listens there, or it is no HTTP, or more than that.
pub(super) async fn get(
    address: SocketAddr,
    path: &str,
    most: usize,
) -> Result<(StatusCode, Bytes), Error> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request =
        Request::get(path).header(HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok((status, Limited::new(response.into_body(), most).collect().await?.to_bytes()))
    };
    tokio::select! {
        // The answer first: the connection may end with it.
        biased;
        answer = answer => answer,
        Err(error) = connection => Err(error.into()),
    }
}
