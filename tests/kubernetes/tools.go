//go:build tools

// Package tools names the programs that tests/kubernetes/binaries builds, so that go.mod pins their versions.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
