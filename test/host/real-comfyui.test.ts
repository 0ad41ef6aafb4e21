import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { writeComponents } from '../fixtures/scenario.ts'
import { must, run } from './command.ts'
import { type ForwardProxy, openForwardProxy } from './forward-proxy.ts'
import { bootHost, type Host } from './host.ts'
import { installedLayer } from './installed.ts'
import { configure, readStatus, startToReady, WORKSPACE } from './machine.ts'
import { cached, projectRoot, shortHash } from './paths.ts'
import { setUp } from './setup.ts'

/** The real ComfyUI: an address, or a clone on this machine. */
const SOURCE = process.env['COMFY_TEST_COMFYUI'] ?? 'https://github.com/comfyanonymous/ComfyUI.git'
const REF = 'v0.3.64'
const TORCH = 'python3-torch python3-torchvision python3-torchaudio'
const WHEELS = path.join(projectRoot, 'test/fixtures/torch/build_wheels.py')
const CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt'

/** What of the outside cannot be reached from here; undefined when all of it can. */
async function findUnreachable(): Promise<string | undefined> {
  const index = await fetch('https://pypi.org/simple/aiohttp/', { signal: AbortSignal.timeout(20_000) }).catch(
    (error: unknown) => String(error),
  )
  if (typeof index === 'string' || !index.ok) return 'PyPI'
  const remote = await run(['git', 'ls-remote', '--quiet', SOURCE, 'HEAD'], {
    timeoutMs: 30_000,
    env: { ...process.env, GIT_TERMINAL_PROMPT: '0' } as Record<string, string>,
  })
  return remote.code === 0 ? undefined : `${SOURCE} (COMFY_TEST_COMFYUI may name a clone)`
}

/** A layer with wheels of a torch for the CPU in /srv/torch. */
async function torchLayer(): Promise<string> {
  await setUp()
  return cached(`torch/${shortHash(TORCH, await readFile(WHEELS))}`, async (folder) => {
    const host = await bootHost({ name: 'torch', network: true })
    const proxy = await openForwardProxy(host.gateway ?? '')
    try {
      const apt = `apt-get -qq -o Acquire::http::Proxy=${proxy.url}`
      await host.must(`${apt} update && ${apt} install -y --no-install-recommends ${TORCH} && apt-get clean`, {
        timeoutMs: 600_000,
      })
      await host.write('/root/build_wheels.py', await readFile(WHEELS))
      await host.must('python3 /root/build_wheels.py /srv/torch', { timeoutMs: 300_000 })
      await host.must(': > /etc/machine-id')
      await host.saveChanges(folder)
    } finally {
      proxy.close()
      await host.stop()
    }
  })
}

/** Where the host finds ComfyUI and at which revision: the address itself, or its git server, which then serves the clone of this machine. */
async function placeSource(host: Host): Promise<readonly [url: string, ref: string]> {
  if (!existsSync(SOURCE)) return [SOURCE, REF]
  const folder = await mkdtemp(path.join(tmpdir(), 'comfyui-source-'))
  try {
    const bare = path.join(folder, 'real.git')
    await must(['git', 'clone', '--quiet', '--bare', '--depth=1', `file://${SOURCE}`, bare], { timeoutMs: 300_000 })
    await must(['git', '--git-dir', bare, 'config', 'uploadpack.allowAnySHA1InWant', 'true'])
    await host.copyIn(folder, '/srv/git')
    return ['http://127.0.0.1:7001/real.git', (await must(['git', '--git-dir', bare, 'rev-parse', 'HEAD'])).trim()]
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const unreachable = await findUnreachable()

if (unreachable !== undefined) {
  test(`the real ComfyUI is not tried: ${unreachable} cannot be reached from here`, () => {
    expect(unreachable).not.toBe('')
  })
} else {
  describe('the real ComfyUI on the CPU', () => {
    let host: Host
    let proxy: ForwardProxy
    let seconds: number

    beforeAll(async () => {
      const layers = [await installedLayer(), await torchLayer()]
      host = await bootHost({ name: 'real', network: true, layers })
      proxy = await openForwardProxy(host.gateway ?? '')
      // This ComfyUI imports requests, which a later transformers does not bring any more.
      await host.must('echo "transformers<5" >> /srv/torch/constraints.txt')
      await host.write('/etc/ssl/certs/outside.crt', await readFile(CERTIFICATES))
      for (const name of ['workflows', 'collections'] as const) await writeComponents(host, name, {})
      await writeComponents(host, 'defaults', [])
      const [url, ref] = await placeSource(host)
      await configure(host, {
        MOCK_GPU_NUM: '1',
        COMPONENTS: 'none',
        COMFYUI_REPO_URL: url,
        COMFYUI_REF: ref,
        PIP_INDEX_URL: 'https://pypi.org/simple',
        UV_FIND_LINKS: '/srv/torch',
        UV_CONSTRAINT: '/srv/torch/constraints.txt',
        TORCH_BACKEND: 'none',
        http_proxy: proxy.url,
        https_proxy: proxy.url,
        no_proxy: '127.0.0.1,localhost',
        SSL_CERT_FILE: '/etc/ssl/certs/outside.crt',
      })
      const begunMs = Date.now()
      await startToReady(host)
      seconds = (Date.now() - begunMs) / 1000
    }, 1_200_000)

    afterAll(async () => {
      proxy.close()
      await host.stop()
    })

    test('installs, starts and proves itself', async () => {
      const status = await readStatus(host)
      expect(status).toMatchObject({ phase: 'ready', failing: [] })
      const stats = JSON.parse(await host.must(['curl', '-sf', 'http://127.0.0.1:8188/system_stats'])) as {
        readonly system: { readonly comfyui_version: string; readonly pytorch_version: string }
      }
      const current = `${WORKSPACE}/comfyui/current`
      expect(await host.read(`${current}/comfyui_version.py`)).toContain(`"${stats.system.comfyui_version}"`)
      const lock = await host.read(`${current}/machine.lock.json`)
      expect(lock).toContain(`torch==${stats.system.pytorch_version}`)
      process.stdout.write(`the real ComfyUI ${stats.system.comfyui_version} was ready after ${seconds.toFixed(1)} s\n`)
    })

    test('runs EmptyImage → SaveImage as a job', async () => {
      const workflow = {
        '1': { class_type: 'EmptyImage', inputs: { width: 64, height: 64, batch_size: 1, color: 255 } },
        '2': { class_type: 'SaveImage', inputs: { images: ['1', 0], filename_prefix: 'real' } },
      }
      await host.write('/root/job.json', JSON.stringify(workflow))
      const job = await host.exec('comfy-machine submit --wait --timeout 120 --out /root/out /root/job.json')
      expect(job).toMatchObject({ code: 0 })
      expect(await host.must('head -c 4 /root/out/*.png')).toContain('PNG')
    })
  })
}
