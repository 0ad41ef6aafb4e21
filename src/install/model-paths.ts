const FOLDERS: Readonly<Record<string, readonly string[]>> = {
  checkpoints: ['checkpoints'],
  text_encoders: ['text_encoders', 'clip'],
  clip_vision: ['clip_vision'],
  configs: ['configs'],
  controlnet: ['controlnet', 't2i_adapter'],
  diffusion_models: ['diffusion_models', 'unet'],
  diffusers: ['diffusers'],
  embeddings: ['embeddings'],
  gligen: ['gligen'],
  hypernetworks: ['hypernetworks'],
  loras: ['loras'],
  photomaker: ['photomaker'],
  style_models: ['style_models'],
  upscale_models: ['upscale_models'],
  vae: ['vae'],
  vae_approx: ['vae_approx'],
  audio_encoders: ['audio_encoders'],
  model_patches: ['model_patches'],
}

/** Text of ComfyUI's extra_model_paths.yaml that points every usual folder at `models` (an absolute path). */
export function renderModelPaths(models: string): string {
  const folders = Object.entries(FOLDERS).map(([name, paths]) => {
    const [only, ...others] = paths
    if (others.length === 0) return `  ${name}: ${only}\n`
    return `  ${name}: |\n${paths.map((path) => `    ${path}\n`).join('')}`
  })
  return `comfy_machine:\n  base_path: ${JSON.stringify(models)}\n  is_default: true\n${folders.join('')}`
}
