// A mutating webhook that marks every pod it is shown with the name of the
// place it runs at: webhook.js MARK PORT CERT KEY [ADDRESS]
const { readFileSync } = require('node:fs')
const https = require('node:https')

const [mark, port, cert, key, address] = process.argv.slice(2)
https
  .createServer({ cert: readFileSync(cert), key: readFileSync(key) }, async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    if (request.method !== 'POST') return response.end('ok')
    const { uid, object } = JSON.parse(body).request
    const patch = [
      { op: 'add', path: '/metadata/labels', value: { ...object.metadata.labels, marked: mark } },
      {
        op: 'add',
        path: '/spec/containers/0/env',
        value: [...(object.spec.containers[0].env ?? []), { name: 'NODE', value: process.version }],
      },
    ]
    response.setHeader('content-type', 'application/json')
    response.end(
      JSON.stringify({
        apiVersion: 'admission.k8s.io/v1',
        kind: 'AdmissionReview',
        response: {
          uid,
          allowed: true,
          patchType: 'JSONPatch',
          patch: Buffer.from(JSON.stringify(patch)).toString('base64'),
          warnings: [`marked by ${mark}`],
        },
      }),
    )
  })
  .listen(Number(port), address, () => console.log(`${mark} listens on ${port} with Node ${process.version}`))
