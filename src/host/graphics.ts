import si from 'systeminformation'

/** Vendor and model of each display adapter, as systeminformation sees them. */
export async function listDisplayAdapters(): Promise<readonly string[]> {
  const { controllers } = await si.graphics()
  return controllers.map(({ vendor, model }) => `${vendor} ${model}`.trim())
}
