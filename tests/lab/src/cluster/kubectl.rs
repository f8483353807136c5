//! `kubectl`, as the admin of the cluster.

use super::Cluster;
use crate::{Invocation, Result};

impl Cluster<'_> {
    /// Where `kubectl` is.
    pub fn kubectl_program(&self) -> &str {
        &self.kubectl
    }

    /// `kubectl ARGS` as the admin, not run yet. `--token` makes it somebody else.
    pub fn kubectl_command<T: Into<String>>(
        &self,
        args: impl IntoIterator<Item = T>,
    ) -> Invocation {
        self.node
            .program(&self.kubectl)
            .env("KUBECONFIG", self.admin_kubeconfig().display().to_string())
            // What it learns of the API is for this cluster only, and goes with it; nobody's habits count here.
            .env("KUBECACHEDIR", self.folder.join("cache").display().to_string())
            .env("KUBERC", "off")
            .args(args)
    }

    /// Runs `kubectl` as the admin and gives what it prints.
    ///
    /// # Errors
    /// As [`Invocation::run`]; the death of a component is named first.
    pub fn kubectl<T: Into<String>>(&self, args: impl IntoIterator<Item = T>) -> Result<String> {
        self.watched(self.kubectl_command(args).run())
    }

    /// Runs `kubectl` as the admin, with `input` on its standard input.
    ///
    /// # Errors
    /// As [`Self::kubectl`].
    pub fn kubectl_with_input<T: Into<String>>(
        &self,
        args: impl IntoIterator<Item = T>,
        input: &str,
    ) -> Result<String> {
        self.watched(self.kubectl_command(args).run_with_input(input))
    }

    /// Applies manifests as YAML or JSON, on the server's side, which validates every field.
    ///
    /// # Errors
    /// As [`Self::kubectl`].
    pub fn apply(&self, manifests: &str) -> Result {
        let args = ["apply", "--server-side", "--validate=strict", "-f", "-"];
        self.kubectl_with_input(args, manifests).map(drop)
    }

    fn watched(&self, result: Result<String>) -> Result<String> {
        result.or_else(|error| {
            self.alive()?;
            Err(error)
        })
    }
}
