import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { ordinarySecrets } from '../fixtures/machine-env.ts'
import type { Host } from './host.ts'
import {
  bootMachine,
  configure,
  invocationOf,
  readJournal,
  readStatus,
  startToReady,
  stop,
  WORKSPACE,
  waitForTrace,
} from './machine.ts'
import { countArrivals, spansOf, TELEMETRY, undelivered, waitForDelivery, wholeTrace } from './traces.ts'

const OWN = `${TELEMETRY}/controller`
const TOKEN = 'the-otlp-token'
const TLS = {
  OTEL_EXPORTER_OTLP_ENDPOINT: 'https://localhost:4319',
  OTEL_EXPORTER_OTLP_CERTIFICATE: '/etc/otel-tls/ca.crt',
}
const TLS_SECRETS = { OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${TOKEN}` }

// One host goes through all of these, in this order.
describe('the place where spans are recorded', () => {
  let host: Host

  beforeAll(async () => {
    host = await bootMachine('spool')
    await startToReady(host)
    await stop(host)
    await waitForDelivery(host)
  })

  afterEach(async () => {
    await stop(host)
  })

  afterAll(async () => {
    await host.stop()
  })

  const messages = async (trace: string, pattern: RegExp): Promise<readonly string[]> =>
    (await readJournal(host, `COMFY_TRACE_ID=${trace}`))
      .map(({ MESSAGE }) => MESSAGE ?? '')
      .filter((message) => pattern.test(message))

  test('is closed to the agent, and holds no secret', async () => {
    await startToReady(host)
    const [segment = ''] = (await host.must(`ls ${OWN}/*.ndjson`)).split('\n')
    const deeds = [
      `echo x >> ${segment}`,
      `touch ${OWN}/x`,
      `rm ${segment}`,
      `mv ${OWN} ${OWN}-2`,
      `rm ${TELEMETRY}/startup.json`,
    ]
    for (const deed of deeds) {
      const { code } = await host.exec(['runuser', '-u', 'comfy-agent', '--', 'sh', '-c', deed])
      expect(code, deed).not.toBe(0)
    }
    for (const secret of Object.values(ordinarySecrets)) {
      const found = await host.exec(['grep', '-rlF', secret ?? '', TELEMETRY])
      expect(found.stdout, secret).toBe('')
    }
  })

  test('may be full: the machine becomes ready, and its trace follows as soon as there is room', async () => {
    await mountSmall(host)
    await fill(host)
    await startToReady(host)
    const trace = await invocationOf(host)
    expect((await readStatus(host)).phase).toBe('ready')
    // Longer than a disk that was full is left alone.
    await new Promise((resolve) => setTimeout(resolve, 12_000))
    expect(await messages(trace, /the trace could not be written: .*ENOSPC/)).toHaveLength(1)
    expect(await spansOf(host, trace)).toEqual([])
    await host.must(`rm ${TELEMETRY}/filler`)
    const { root } = wholeTrace(await waitForTrace(host, trace, 30_000))
    expect(root.attributes['telemetry.lost_spans']).toBeUndefined()
    expect(await messages(trace, /the trace is written again/)).toHaveLength(1)
  })

  test('gives up the oldest spans of a full disk, and says how many', async () => {
    await host.must('systemctl stop fixture-otel')
    // Of what is delivered nothing is left to be given up first; then an undelivered segment and the one that is written.
    const old = 'd'.repeat(32)
    const next = Number((await host.must(`ls ${OWN} | grep ndjson | tail -1`)).slice(0, 8)) + 1
    const file = (number: number): string => `${OWN}/${String(number).padStart(8, '0')}.ndjson`
    await host.must(`rm ${file(next - 1)}`)
    await host.write(file(next), undelivered(old, 200))
    await host.write(file(next + 1), '')
    await fill(host)
    await startToReady(host)
    const trace = await invocationOf(host)
    expect(await messages(trace, /^\d+ spans were given up undelivered/)).toEqual([
      expect.stringMatching(/^200 spans were given up/),
    ])
    expect((await host.read(`${OWN}/lost`)).trim()).toBe('200')
    expect(await host.exec(['test', '-e', file(next)])).toMatchObject({ code: 1 })
    await host.must(`systemctl start fixture-otel; rm ${TELEMETRY}/filler`)
    const { root } = wholeTrace(await waitForTrace(host, trace, 90_000))
    expect(root.attributes['telemetry.lost_spans']).toBe(200)
    expect(await countArrivals(host, old, 200)).toEqual({ lost: 200, doubled: 0 })
    await stop(host)
    await waitForDelivery(host)
    await host.must(`umount ${TELEMETRY}`)
  })

  test('waits for a collector whose certificate is not trusted, and says why; TLS and headers are the standard ones', async (context) => {
    const collector = '/usr/local/lib/fixtures/otlp/otelcol'
    if ((await host.exec(['test', '-x', collector])).code !== 0) context.skip('the Collector could not be built here')
    await makeCertificates(host)
    await host.must(
      `systemctl stop fixture-otel && systemd-run --unit=otel-tls ${collector} --config=${collector}-tls.yaml`,
    )
    await configure(host, { ...TLS, OTEL_EXPORTER_OTLP_CERTIFICATE: '/etc/otel-tls/other.crt' }, TLS_SECRETS)
    await startToReady(host)
    const trace = await invocationOf(host)
    const why = 'journalctl -b -q -u comfy-telemetry -o cat | grep -i "could not be delivered yet: .*certificate"'
    await host.waitFor(why, 30_000)
    expect(await spansOf(host, trace)).toEqual([])
    // What the delivery reads anew at each of its starts.
    await configure(host, TLS, TLS_SECRETS)
    wholeTrace(await waitForTrace(host, trace, 60_000))
    await host.must('systemctl stop otel-tls && systemctl start fixture-otel')
    expect((await host.exec(['grep', '-rlF', TOKEN, TELEMETRY, '/run/systemd/system'])).stdout).toBe('')
    await configure(host)
  })
})

/** Lays a small file system over the place of the outboxes. */
async function mountSmall(host: Host): Promise<void> {
  await host.must(
    `mount -t tmpfs -o size=512k,mode=0755 small ${TELEMETRY} && systemd-tmpfiles --create --prefix=${WORKSPACE}`,
  )
}

async function fill(host: Host): Promise<void> {
  await host.exec(`dd if=/dev/zero of=${TELEMETRY}/filler bs=4096 2>/dev/null`)
}

/** A server certificate of a CA for localhost, and the certificate of a CA that has not signed it. */
async function makeCertificates(host: Host): Promise<void> {
  const lines = [
    'mkdir -p /etc/otel-tls && cd /etc/otel-tls && exec 2>/dev/null',
    'for ca in ca other; do openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=$ca -keyout $ca.key -out $ca.crt; done',
    'openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout server.key -out server.csr',
    'openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -days 2 -extfile <(echo subjectAltName=DNS:localhost) -out server.crt',
    `echo -n ${TOKEN} > token`,
  ]
  await host.must(lines.join('\n'))
}
