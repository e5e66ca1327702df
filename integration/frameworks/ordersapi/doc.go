// Package ordersapi is a server that oapi-codegen generates from openapi.json. After a change of
// the document, run "go generate" in this folder.
package ordersapi

import _ "embed"

//go:generate -command oapi go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2
//go:generate oapi -config oapi-codegen.yaml openapi.json

// Document is the OpenAPI document of the server.
//
//go:embed openapi.json
var Document []byte
