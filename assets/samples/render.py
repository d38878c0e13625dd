"""Draws the rendered sample pictures of this folder: ``python assets/samples/render.py [NAME …]``.

A small ray marcher: a scene is a list of (signed distance, material) pairs above an optional ground plane, lit by one
sun or lamp and by its surroundings, which also are what is seen behind. Only NumPy and Pillow; some 15 s a picture.
"""
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, SAMPLES = 512, 384, 2  # SAMPLES² rays a pixel
rng = np.random.default_rng(0)
LATTICE = rng.random((64, 64, 64), dtype=np.float32)


# --- vectors, noise ---------------------------------------------------------------------------------------------------

def vec(*values):
    return np.array(values, np.float32)


def length(p):
    return np.sqrt((p * p).sum(-1))


def unit(p):
    return p / np.maximum(length(p), 1e-9)[..., None]


def dot(a, b):
    return (a * b).sum(-1)


def step(low, high, x):
    """0 below low, 1 above high, smooth between."""
    x = np.clip((x - low) / (high - low), 0, 1)
    return x * x * (3 - 2 * x)


def mix(a, b, t):
    t = np.asarray(t, np.float32)
    return a + (b - a) * (t[..., None] if np.ndim(a) and np.ndim(b) and np.shape(a)[-1] == 3 else t)


def noise(p):
    """Smooth value noise, 0..1, of points (N, 3)."""
    cell = np.floor(p).astype(np.int32)
    f = p - cell
    f = f * f * (3 - 2 * f)
    total = 0
    for corner in np.ndindex(2, 2, 2):
        x, y, z = ((cell + np.array(corner)) & 63).T
        weight = np.prod(np.where(corner, f, 1 - f), -1)
        total = total + weight * LATTICE[x, y, z]
    return total.astype(np.float32)


def fbm(p, octaves=4):
    return sum(noise(p * 2**k + 17 * k) / 2**(k + 1) for k in range(octaves)) / (1 - 0.5**octaves)


def turn(p, axis, degrees):
    """The points rotated about the x, y or z axis."""
    a, b = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    out = p.copy()
    out[:, a], out[:, b] = c * p[:, a] - s * p[:, b], s * p[:, a] + c * p[:, b]
    return out


# --- signed distances -------------------------------------------------------------------------------------------------

def ellipsoid(p, radii):
    k = length(p / radii)
    return k * (k - 1) / np.maximum(length(p / (radii * radii)), 1e-6)


def box(p, half, rounding=0.0):
    q = np.abs(p) - (half - rounding)
    return length(np.maximum(q, 0)) + np.minimum(q.max(-1), 0) - rounding


def capsule(p, a, b, ra, rb=None):
    h = np.clip(dot(p - a, b - a) / dot(b - a, b - a), 0, 1)
    return length(p - a - h[:, None] * (b - a)) - (ra if rb is None else ra + (rb - ra) * h)


def torus(p, radius, tube):
    """About the z axis."""
    return np.hypot(np.hypot(p[:, 0], p[:, 1]) - radius, p[:, 2]) - tube


def disc(p, radius, half, rounding=0.0):
    """A cylinder about the z axis."""
    q = np.stack([np.hypot(p[:, 0], p[:, 1]) - radius + rounding, np.abs(p[:, 2]) - half + rounding], -1)
    return length(np.maximum(q, 0)) + np.minimum(q.max(-1), 0) - rounding


def blend(a, b, k):
    h = np.clip(0.5 + 0.5 * (b - a) / k, 0, 1)
    return b + (a - b) * h - k * h * (1 - h)


# --- rendering --------------------------------------------------------------------------------------------------------

def render(
        parts, surroundings, *, eye, target, fov, sun, sun_colour, bounds, ground=None, exposure=0.55, far_blur=None):
    """One picture.

    ``parts``: (distance(p), material(p, n)) pairs; a material gives albedo, gloss (0..1), shininess and normals.
    ``ground``: the material of the plane y = 0. ``surroundings(directions)``: light from there. ``bounds``: centre and
    radius of a sphere around all parts. ``far_blur``: distance where blur begins, where it is full, radius in pixels.
    """
    w, h = WIDTH * SAMPLES, HEIGHT * SAMPLES
    forward = unit(target - eye)
    right = unit(np.cross(forward, vec(0, 1, 0)))
    up = np.cross(right, forward)
    x, y = np.meshgrid((np.arange(w) + 0.5) / w - 0.5, 0.5 - (np.arange(h) + 0.5) / h)
    scale = 2 * np.tan(np.radians(fov) / 2)
    d = unit(forward + scale * (x[..., None] * right + y[..., None] * h / w * up)).reshape(-1, 3).astype(np.float32)

    def distance(p):
        return np.min([sdf(p) for sdf, _ in parts], 0).astype(np.float32)

    def march(origin, d, start, stop, steps=140):
        """Distance along each ray to the first part, inf where there is none."""
        t, hit = start.copy(), np.full(len(d), np.inf, np.float32)
        alive = np.flatnonzero(start < stop)
        for _ in range(steps):
            if not len(alive):
                break
            r = distance(origin[alive] + t[alive, None] * d[alive])
            near = r < 0.0008 * t[alive] + 0.0005
            hit[alive[near]] = t[alive[near]]
            t[alive] += 0.8 * r
            alive = alive[~near & (t[alive] < stop[alive])]
        return hit

    def enter(origin, d):
        to = bounds[0] - origin
        along = dot(to, d)
        half = np.sqrt(np.maximum(bounds[1]**2 - (dot(to, to) - along**2), 0))
        return np.maximum(along - half, 0.02), np.where(half > 0, along + half, -1)

    def shadow(p, towards):
        start, stop = enter(p, towards)
        light, t, alive = np.ones(len(p), np.float32), start.copy(), np.flatnonzero(start < stop)
        for _ in range(48):
            if not len(alive):
                break
            r = distance(p[alive] + t[alive, None] * towards)
            light[alive] = np.minimum(light[alive], np.clip(14 * r / t[alive], 0, 1))
            t[alive] += np.clip(r, 0.015, 0.4)
            alive = alive[(light[alive] > 0.01) & (t[alive] < stop[alive])]
        return light * light * (3 - 2 * light)

    origin = np.broadcast_to(eye, d.shape)
    t = march(origin, d, *enter(origin, d))
    on_part = np.isfinite(t)
    if ground is not None:
        with np.errstate(divide="ignore"):
            plane = np.where(d[:, 1] < -1e-4, -eye[1] / d[:, 1], np.inf)
        on_part &= t <= plane
        t = np.minimum(t, plane)

    colour = surroundings(d)
    seen = np.flatnonzero(np.isfinite(t) & (t < 400))
    p = eye + t[seen, None] * d[seen]
    on_part = on_part[seen]
    n = np.zeros_like(p)
    n[:, 1] = 1
    q = p[on_part]
    tetrahedron = vec(1, -1, -1), vec(-1, -1, 1), vec(-1, 1, -1), vec(1, 1, 1)
    n[on_part] = unit(sum(k * distance(q + 0.0015 * k)[:, None] for k in tetrahedron))

    albedo, gloss, shine = np.zeros_like(p), np.zeros(len(p), np.float32), np.ones(len(p), np.float32)
    which = np.full(len(p), -1)
    which[on_part] = np.argmin([sdf(q) for sdf, _ in parts], 0)
    for i, material in enumerate([m for _, m in parts] + [ground]):
        mine = which == (i if i < len(parts) else -1)
        if mine.any():
            albedo[mine], gloss[mine], shine[mine], n[mine] = material(p[mine], n[mine])

    sun = unit(sun)
    lit = np.clip(dot(n, sun), 0, 1)
    lit *= shadow(p + 0.01 * n, np.broadcast_to(sun, p.shape)[0])
    open_sky = np.ones(len(p), np.float32)
    for reach in (0.04, 0.12, 0.3, 0.6):
        sample = p + reach * n
        r = distance(sample) if ground is None else np.minimum(distance(sample), sample[:, 1])
        open_sky -= np.clip(reach - r, 0, None) / reach * 0.22
    open_sky = np.clip(open_sky, 0.05, 1)
    above = surroundings(unit(vec(0, 1, 0.3))[None])[0]
    below = 0.35 * above * vec(1.0, 0.9, 0.75)
    ambient = mix(np.broadcast_to(below, p.shape), np.broadcast_to(above, p.shape), 0.5 + 0.5 * n[:, 1])
    out = albedo * (lit[:, None] * sun_colour + open_sky[:, None] * ambient)
    view = -d[seen]
    mirror = 2 * dot(n, view)[:, None] * n - view
    fresnel = gloss * (0.05 + 0.95 * (1 - np.clip(dot(n, view), 0, 1))**5)
    glint = np.clip(dot(n, unit(sun + view)), 0, 1)**shine * gloss * (shine + 8) / 60
    out += (fresnel * open_sky)[:, None] * surroundings(mirror) + (glint * (lit > 0) * lit)[:, None] * sun_colour
    colour[seen] = out

    depth = np.where(np.isfinite(t), t, 1e3)
    return develop(colour.reshape(h, w, 3) * exposure, depth.reshape(h, w), far_blur)


def develop(light, depth=None, far_blur=None):
    """Linear light to an 8-bit picture: filmic curve, blur of what is far, vignette, grain."""
    curve = np.clip(light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14), 0, 1)
    image = Image.fromarray((255 * curve**(1 / 2.2)).astype(np.uint8)).resize((WIDTH, HEIGHT), Image.Resampling.BOX)
    if far_blur:
        begin, full, radius = far_blur
        mask = Image.fromarray((255 * step(begin, full, depth)).astype(np.uint8)).resize((WIDTH, HEIGHT))
        far = np.asarray(mask, np.float32)[..., None] / 255
        soft = _blur(np.asarray(image, np.float32) * far, radius) / np.maximum(_blur(far + 1e-3, radius), 1e-3)
        image = Image.composite(Image.fromarray(np.clip(soft, 0, 255).astype(np.uint8)), image, mask)
    x, y = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT))
    pixels = np.asarray(image, np.float32) * (1 - 0.12 * (x * x + y * y))[..., None]
    pixels += np.random.default_rng(1).normal(0, 2.2, (HEIGHT, WIDTH, 1))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _blur(array, radius):
    """Gaussian. With what is near weighted 0, that does not bleed into the background."""
    reach = int(2.5 * radius)
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / radius)**2)
    for axis in (0, 1):
        padded = np.pad(array, [(reach, reach) if a == axis else (0, 0) for a in range(3)], mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(taps), axis)
        array = windows @ (taps / taps.sum()).astype(np.float32)
    return array


# --- materials, surroundings ------------------------------------------------------------------------------------------

def plain(*colour, gloss=0.3, shine=40):
    return lambda p, n: (np.broadcast_to(vec(*colour), p.shape), gloss, shine, n)


def bumpy(p, n, height, size):
    """Normals tilted by the gradient of a height map."""
    e = vec(0.01, 0, 0), vec(0, 0.01, 0), vec(0, 0, 0.01)
    base = height(p)
    gradient = np.stack([height(p + k) - base for k in e], -1) / 0.01
    return unit(n - size * (gradient - dot(gradient, n)[:, None] * n))


def wood(p, n):
    plank = np.floor(p[:, 2] / 1.1)
    q = p * vec(0.35, 1, 5) + plank[:, None] * vec(13.7, 0, 5.3)
    rings = 0.5 + 0.5 * np.sin(14 * fbm(q * vec(0.7, 1, 0.5), 3) + 3 * q[:, 2] * 0.3)
    grain = fbm(q * vec(3, 1, 9), 3)
    colour = mix(vec(0.16, 0.075, 0.035), vec(0.34, 0.175, 0.085), rings * 0.55 + grain * 0.45)
    colour = colour * (0.85 + 0.3 * np.mod(plank * 0.37, 1))[:, None]
    seam = np.abs(np.mod(p[:, 2], 1.1) - 0.55) > 0.535
    colour[seam] *= 0.3
    return colour, 0.35, 30, n


def sand(p, n):
    def height(q):
        return 0.5 * fbm(q * vec(1.6, 1, 2.2), 3) + 0.1 * noise(q * 14)

    colour = mix(vec(0.62, 0.47, 0.30), vec(0.80, 0.66, 0.46), fbm(p * 2.5, 3)) * (0.85 + 0.3 * noise(p * 45))[:, None]
    return colour, 0.0, 1, bumpy(p, n, height, 0.45)


def room(wall, window):
    """Indoors: a wall in soft light, and a window, seen in reflections only, up and to the left."""
    def light(d):
        base = np.broadcast_to(vec(*wall), d.shape) * (0.55 + 0.45 * d[:, 1:2] + 0.12 * noise(d * 3)[:, None])
        pane = step(0.80, 0.86, dot(d, unit(vec(-0.6, 0.6, 0.55))))
        bars = 1 - 0.85 * (step(0.02, 0.01, np.abs(d[:, 0] + 0.6 * d[:, 1] + 0.24)))
        return base + (pane * bars)[:, None] * vec(*window)
    return light


def sky(d):
    up = np.clip(d[:, 1], 0, 1)
    blue = mix(vec(0.62, 0.78, 0.95), vec(0.16, 0.38, 0.80), up**0.5)
    q = d / np.maximum(d[:, 1:2], 0.04) * vec(1.1, 0, 0.8)
    cloud = step(0.48, 0.75, fbm(q + 5.3, 5)) * step(0.02, 0.15, d[:, 1])
    return mix(blue, np.broadcast_to(vec(1.0, 1.0, 1.0), d.shape), cloud * 0.85)


# --- scenes -----------------------------------------------------------------------------------------------------------

def orange_and_lemon():
    """A whole orange, half an orange and a lemon on a wooden table."""
    whole, half, fruit = vec(-0.62, 0.95, -0.45), vec(0.55, 0.86, 0.85), vec(1.75, 0.5, -0.75)
    facing = unit(vec(0.05, 0.28, 1))

    def skin(p, n):
        colour = mix(vec(0.80, 0.19, 0.006), vec(0.88, 0.25, 0.01), fbm(p * 3, 3))
        return colour, 0.4, 18, bumpy(p, n, lambda q: noise(q * 24), 0.007)

    def cut(p, n):
        side = unit(np.cross(vec(0, 1, 0), facing))
        u, v = dot(p - half, side), dot(p - half, np.cross(facing, side))
        r, angle = np.hypot(u, v) / 0.9, np.arctan2(v, u)
        part = np.abs(np.mod(angle / (2 * np.pi) * 10 + 0.3, 1) - 0.5)      # 0.5 at the walls between segments
        flesh = mix(vec(0.80, 0.20, 0.008), vec(0.92, 0.34, 0.03), fbm(np.stack([angle * 9, r * 3, r], -1), 3))
        pith = vec(0.95, 0.82, 0.55)
        wall = np.maximum(step(0.455, 0.49, part + 0.02 / np.maximum(r, 0.1) - 0.02), step(0.10, 0.06, r))
        colour = mix(flesh, np.broadcast_to(pith, p.shape), np.maximum(wall * 0.65, step(0.86, 0.89, r)))
        colour = mix(colour, np.broadcast_to(vec(0.82, 0.21, 0.008), p.shape), step(0.955, 0.975, r))
        flat = dot(n, facing) > 0.9
        rind, *_ = skin(p, n)
        colour = np.where(flat[:, None], colour, rind)
        wet = bumpy(p, n, lambda q: noise(q * 11), 0.02)
        return colour, np.where(flat, 0.9, 0.5), np.where(flat, 60, 25), wet

    def yellow(p):
        q = turn(turn(p - fruit, "y", 35), "z", 4)
        ends = np.minimum(length(q - vec(0.80, 0, 0)) - 0.07, length(q + vec(0.78, 0, 0)) - 0.10)
        return blend(ellipsoid(q, vec(0.76, 0.5, 0.5)), ends, 0.22)

    def peel(p, n):
        colour = mix(vec(0.90, 0.66, 0.03), vec(0.97, 0.78, 0.08), fbm(p * 3, 3))
        return colour, 0.5, 30, bumpy(p, n, lambda q: noise(q * 20), 0.007)

    parts = [
        (lambda p: ellipsoid(p - whole, vec(0.98, 0.95, 0.98)), skin),
        (lambda p: disc(turn(turn(p - whole - vec(0.2, 0.92, 0.1), "x", 90), "y", 12), 0.07, 0.05, 0.02),
         plain(0.20, 0.30, 0.06)),
        (lambda p: np.maximum(length(p - half) - 0.9, dot(p - half, facing) - 0.02), cut),
        (yellow, peel),
    ]
    return render(parts, room((0.30, 0.36, 0.38), (4, 4, 3.8)), eye=vec(-0.1, 2.4, 6.2), target=vec(0.15, 0.78, 0),
                  fov=37, sun=vec(-0.7, 1.1, 0.75), sun_colour=vec(2.5, 2.3, 2.0), ground=wood,
                  bounds=(vec(0, 0.8, 0.2), 2.4), far_blur=(7, 12, 5))


def teapot():
    """A porcelain teapot with a blue band on a wooden table."""
    def body(p):
        belly = ellipsoid(p - vec(0, 0.98, 0), vec(1.18, 0.95, 1.18))
        foot = disc(turn(p - vec(0, 0.09, 0), "x", 90), 0.70, 0.09, 0.04)
        curve = [vec(0.9, 0.66, 0), vec(1.38, 0.84, 0), vec(1.62, 1.18, 0), vec(1.78, 1.55, 0), vec(2.02, 1.78, 0)]
        widths = 0.33, 0.25, 0.18, 0.14, 0.12
        pieces = [capsule(p, *curve[i:i + 2], *widths[i:i + 2]) for i in range(4)]
        spout = blend(blend(pieces[0], pieces[1], 0.2), blend(pieces[2], pieces[3], 0.2), 0.2)
        spout = np.maximum(spout, -capsule(p, vec(1.85, 1.61, 0), vec(2.12, 1.88, 0), 0.07, 0.10))
        handle = torus(p - vec(-1.22, 1.08, 0), 0.55, 0.115)
        inside = ellipsoid(p - vec(0, 0.98, 0), vec(1.05, 0.85, 1.05))
        return np.maximum(blend(blend(blend(belly, foot, 0.08), spout, 0.12), handle, 0.08), -inside)

    def lid(p):
        dome = np.maximum(ellipsoid(p - vec(0, 1.62, 0), vec(0.68, 0.42, 0.68)), 1.70 - p[:, 1])
        rim = torus(turn(p - vec(0, 1.74, 0), "x", 90), 0.64, 0.055)
        knob = blend(capsule(p, vec(0, 2.0, 0), vec(0, 2.12, 0), 0.08), length(p - vec(0, 2.22, 0)) - 0.15, 0.08)
        return blend(blend(dome, rim, 0.05), knob, 0.06)

    white, blue = vec(0.86, 0.85, 0.81), vec(0.04, 0.12, 0.42)

    def porcelain(p, n):
        angle = np.arctan2(p[:, 2], p[:, 0])
        radius = np.hypot(p[:, 0], p[:, 2])
        wave = 0.98 + 0.10 * np.sin(angle * 12)
        band = np.maximum(step(0.035, 0.02, np.abs(p[:, 1] - wave)), step(0.06, 0.045, np.hypot(
            (np.mod(angle * 12 / (2 * np.pi) + 0.25, 1) - 0.5) * 0.62, p[:, 1] - 1.0)))
        lines = np.maximum(step(0.03, 0.02, np.abs(p[:, 1] - 1.24)), step(0.03, 0.02, np.abs(p[:, 1] - 0.72)))
        marks = np.maximum(band, lines) * (radius < 1.22) * (np.abs(p[:, 1] - 0.98) < 0.4)
        return mix(np.broadcast_to(white, p.shape), np.broadcast_to(blue, p.shape), marks), 0.9, 220, n

    def lid_glaze(p, n):
        marks = np.maximum(step(2.10, 2.12, p[:, 1]), step(0.03, 0.02, np.abs(np.hypot(p[:, 0], p[:, 2]) - 0.5)))
        return mix(np.broadcast_to(white, p.shape), np.broadcast_to(blue, p.shape), marks), 0.9, 220, n

    return render([(body, porcelain), (lid, lid_glaze)], room((0.50, 0.42, 0.34), (5, 5, 4.8)),
                  eye=vec(0.9, 2.7, 6.4), target=vec(0.12, 1.02, 0), fov=37, sun=vec(-0.8, 1.2, 0.9),
                  sun_colour=vec(2.2, 2.05, 1.85), ground=wood, bounds=(vec(0.1, 1.1, 0), 2.3), far_blur=(7.5, 13, 5))


def ladybug():
    """A seven-spot ladybug on a leaf."""
    def leaf_height(p):
        fold = np.abs(p[:, 2])
        return 0.10 * fold - 0.035 * fold * fold - 0.012 * p[:, 0]**2 - 0.12

    def leaf(p):
        width = 2.5 * np.clip(1 - np.abs(p[:, 0] + 0.3)**2.2 / 26, 0.0, 1)
        width = width + 0.05 * np.sin(p[:, 0] * 9)
        return np.maximum(np.abs(p[:, 1] - leaf_height(p)) * 0.8 - 0.025, (np.abs(p[:, 2]) - width) * 0.6)

    def veins(p):
        side = np.abs(p[:, 2])
        along = np.abs(np.mod((p[:, 0] + 0.9 * side) / 0.62, 1) - 0.5)
        return np.maximum(step(0.09, 0.03, side), step(0.46, 0.495, along) * 0.8)

    def blade(p, n):
        colour = mix(vec(0.030, 0.105, 0.016), vec(0.075, 0.19, 0.03), fbm(p * 1.7, 3))
        colour = mix(colour, np.broadcast_to(vec(0.20, 0.33, 0.09), p.shape), veins(p) * 0.7)
        return colour, 0.5, 22, bumpy(p, n, lambda q: veins(q) + 0.5 * fbm(q * 7, 3), 0.05)

    def shell(p):
        return np.maximum(ellipsoid(p - vec(0.1, 0.25, 0), vec(1.12, 0.86, 0.98)), 0.13 - p[:, 1])

    spots = [(-0.62, 0.0, 0.22), (-0.30, 0.52, 0.2), (0.30, 0.36, 0.22), (0.78, 0.45, 0.17)]

    def red(p, n):
        q = p - vec(0.1, 0.25, 0)
        x, z = q[:, 0], np.arctan2(q[:, 2], q[:, 1]) * 0.62
        dark = step(0.03, 0.015, np.abs(q[:, 2]))
        for sx, sz, size in spots:
            dark = np.maximum(dark, step(size + 0.02, size - 0.02, np.hypot(x - sx, np.abs(z) - sz)))
        colour = mix(vec(0.42, 0.006, 0.004), vec(0.62, 0.022, 0.006), step(0, 0.8, q[:, 1]))
        return mix(colour, np.broadcast_to(vec(0.012, 0.01, 0.01), p.shape), dark), 0.9, 160, n

    def collar(p):
        return ellipsoid(p - vec(-0.95, 0.34, 0), vec(0.42, 0.42, 0.62))

    def collar_paint(p, n):
        pale = step(0.20, 0.16, np.hypot((p[:, 0] + 1.12) * 0.9, np.abs(p[:, 2]) - 0.42))
        return mix(np.broadcast_to(vec(0.012, 0.01, 0.01), p.shape), np.broadcast_to(vec(0.85, 0.82, 0.7), p.shape),
                   pale), 0.8, 120, n

    def head(p):
        q = p * vec(1, 1, 1)  # a copy
        q[:, 2] = np.abs(q[:, 2])
        feeler = np.minimum(capsule(q, vec(-1.4, 0.34, 0.14), vec(-1.66, 0.5, 0.34), 0.028),
                            capsule(q, vec(-1.66, 0.5, 0.34), vec(-1.8, 0.46, 0.5), 0.035, 0.05))
        return np.minimum(ellipsoid(p - vec(-1.3, 0.26, 0), vec(0.24, 0.24, 0.34)), feeler)

    def head_paint(p, n):
        pale = step(0.09, 0.06, np.hypot(p[:, 1] - 0.36, np.abs(p[:, 2]) - 0.17))
        return mix(np.broadcast_to(vec(0.012, 0.01, 0.01), p.shape), np.broadcast_to(vec(0.85, 0.82, 0.7), p.shape),
                   pale), 0.7, 80, n

    def legs(p):
        q = p * vec(1, 1, 1)
        q[:, 2] = np.abs(q[:, 2])
        out = []
        for x, reach in ((-0.75, -0.32), (-0.1, 0.02), (0.5, 0.34)):
            hip, knee, foot = vec(x, 0.16, 0.6), vec(x + 0.6 * reach, 0.27, 1.08), vec(x + reach, -0.05, 1.34)
            out += [capsule(q, hip, knee, 0.075, 0.055), capsule(q, knee, foot, 0.055, 0.03)]
        return np.min(out, 0)

    discs = [(unit(np.random.default_rng(i).normal(size=3) * vec(1, 0.6, 0.3) + vec(0, 0.05, -1)),
              0.025 + 0.004 * (i % 9), 0.15 + 0.05 * (i % 7)) for i in range(60)]

    def garden(d):
        light = mix(vec(0.02, 0.07, 0.02), vec(0.22, 0.42, 0.10), fbm(d * vec(3, 3, 3) + 4, 3))
        for at, size, strength in discs:
            light = light + (step(size, size * 0.85, length(d - at)) * strength)[:, None] * vec(0.55, 0.75, 0.3)
        return light + step(0.55, 1.0, d[:, 1])[:, None] * vec(1.6, 1.8, 1.9)

    parts = [(leaf, blade), (shell, red), (collar, collar_paint), (head, head_paint),
             (legs, plain(0.012, 0.01, 0.01, gloss=0.6))]
    return render(parts, garden, eye=vec(-2.9, 4.6, 4.1), target=vec(-0.15, 0.2, 0.05), fov=38,
                  sun=vec(-0.35, 1.2, 0.35), sun_colour=vec(3.0, 2.85, 2.5), bounds=(vec(0, 0, 0), 5.2), exposure=0.6,
                  far_blur=(6.0, 9.5, 6))


def lettering(text):
    """Text as an array of 0..1, cut to its letters."""
    font = ImageFont.load_default(60)
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(image).text((-left, -top), text, 255, font)
    return np.asarray(image, np.float32) / 255


def school_bus():
    """A yellow school bus on a road."""
    words = lettering("SCHOOL BUS")

    def write(u, v, middle, base, high):
        """1 where the words stand: their middle at u = middle, letters from v = base up to base + high."""
        wide = high * words.shape[1] / words.shape[0]
        column = ((u - middle + wide / 2) / wide * words.shape[1]).astype(int)
        row = ((base + high - v) / high * words.shape[0]).astype(int)
        inside = (column >= 0) & (column < words.shape[1]) & (row >= 0) & (row < words.shape[0])
        return np.where(inside, words[np.clip(row, 0, words.shape[0] - 1), np.clip(column, 0, words.shape[1] - 1)], 0)

    wheels = [vec(x, 0.52, z) for x in (-3.05, 2.2) for z in (1.02, -1.02)]

    def body(p):
        cabin = box(p - vec(0.75, 1.68, 0), vec(3.35, 1.16, 1.2), 0.22)
        hood = box(p - vec(-3.2, 1.12, 0), vec(0.95, 0.56, 0.98), 0.2)
        arches = np.min([disc(p - w * vec(1, 1, 1.1), 0.66, 0.42) for w in wheels], 0)
        return np.maximum(np.minimum(cabin, hood), -arches)

    def paint(p, n):
        x, y, z = p.T
        side, front = np.abs(n[:, 2]) > 0.75, n[:, 0] < -0.75
        yellow = mix(vec(0.90, 0.46, 0.005), vec(0.95, 0.52, 0.01), fbm(p * 0.8, 2))
        pane = np.abs(np.mod((x + 2.25) / 0.83, 1) - 0.5)
        glass = side & (pane < 0.43) & (np.abs(y - 2.06) < 0.29) & (x > -2.25) & (x < 3.55)
        glass |= front & (x < -2.4) & (np.abs(y - 2.06) < 0.36) & (np.abs(z) < 1.02) & (np.abs(z) > 0.035)
        black = side & (x > -2.5) & ((np.abs(y - 1.62) < 0.035) | (np.abs(y - 1.28) < 0.03) | (np.abs(y - 0.84) < 0.03))
        black |= side & (write(x, y, 0.7, 2.43, 0.2) > 0.5)
        black |= front & (x < -2.4) & (write(z, y, 0.0, 2.5, 0.16) > 0.5)
        grille = (x < -4.1) & front & (np.abs(y - 1.14) < 0.26) & (np.abs(z) < 0.5)
        black |= grille & (np.mod(y * 14, 1) < 0.6)
        chrome = grille & ~black
        colour = yellow
        colour[black] = vec(0.012, 0.012, 0.012)
        colour[glass] = vec(0.015, 0.02, 0.025)
        colour[chrome] = vec(0.45, 0.45, 0.45)
        return colour, np.where(glass, 1.0, 0.55), np.where(glass, 300, 90), n

    def tyres(p):
        return np.min([disc(p - w, 0.52, 0.16, 0.07) for w in wheels], 0)

    def rubber(p, n):
        hub = np.min([np.hypot(p[:, 0] - w[0], p[:, 1] - w[1]) for w in wheels], 0)
        bolts = hub < 0.3
        colour = np.where(bolts[:, None], np.where((hub < 0.12)[:, None], vec(0.10, 0.10, 0.10), vec(0.55, 0.55, 0.56)),
                          vec(0.02, 0.02, 0.022))
        return colour, np.where(bolts, 0.8, 0.1), 60, n

    def black_parts(p):
        bumper = box(p - vec(-4.22, 0.62, 0), vec(0.12, 0.14, 1.1), 0.04)
        skirt = box(p - vec(0.9, 0.6, 0), vec(3.1, 0.12, 0.95), 0.05)
        q = p * vec(1, 1, 1)
        q[:, 2] = np.abs(q[:, 2])
        arm = capsule(q, vec(-2.6, 1.75, 1.1), vec(-3.3, 1.95, 1.35), 0.025)
        mirror = box(q - vec(-3.3, 1.95, 1.38), vec(0.05, 0.24, 0.12), 0.04)
        return np.min([bumper, skirt, arm, mirror], 0)

    def lamp(y, z, size, x):
        def pair(p):
            q = np.stack([p[:, 0] - x, p[:, 1] - y, np.abs(p[:, 2]) - z], -1)
            return disc(turn(q, "y", 90), size, 0.05, 0.02)
        return pair

    def stop_sign(p):
        return disc(p - vec(-2.05, 1.45, 1.27), 0.2, 0.02)

    def street(p, n):
        x, _, z = p.T
        asphalt = mix(vec(0.10, 0.10, 0.105), vec(0.17, 0.17, 0.17), fbm(p * 1.3, 3))
        asphalt = asphalt * (0.75 + 0.5 * noise(p * 38))[:, None]
        lines = (np.abs(z - 2.75) < 0.06) | (np.abs(z - 3.0) < 0.06)
        colour = np.where(lines[:, None], vec(0.75, 0.50, 0.05) * (0.7 + 0.4 * noise(p * 9))[:, None], asphalt)
        walk = (z < -2.0) & (z > -4.2)
        slabs = (np.abs(np.mod(x / 1.4, 1) - 0.5) < 0.485) & (z < -2.25)
        colour = np.where(walk[:, None], vec(0.50, 0.48, 0.45) * np.where(slabs, 1, 0.7)[:, None], colour)
        lawn = mix(vec(0.06, 0.15, 0.02), vec(0.16, 0.28, 0.05), fbm(p * 1.1, 4)) * (0.7 + 0.6 * noise(p * 21))[:, None]
        return np.where((z <= -4.2)[:, None], lawn, colour), 0.05, 8, n

    def trees(d):
        """Sky above a row of trees."""
        around = np.arctan2(d[:, 0], -d[:, 2])
        flat = np.stack([around * 9, np.zeros_like(around), np.zeros_like(around)], -1)
        tops = 0.05 + 0.15 * fbm(flat + 3.7, 4)
        crown = np.stack([around * 26, d[:, 1] * 34, np.zeros_like(around)], -1)
        bright = fbm(crown, 4)**1.4 * (0.5 + 4 * d[:, 1].clip(0, 0.2))
        leaves = mix(vec(0.03, 0.09, 0.02), vec(0.20, 0.34, 0.08), bright)
        return mix(sky(d), leaves, step(tops + 0.004, tops - 0.008, d[:, 1] - 0.02 * noise(crown)) * (d[:, 2] < 0.3))

    parts = [
        (body, paint), (tyres, rubber), (black_parts, plain(0.015, 0.015, 0.016, gloss=0.4)),
        (lamp(1.2, 0.76, 0.17, -4.14), plain(0.85, 0.85, 0.8, gloss=1, shine=200)),
        (lamp(2.58, 0.86, 0.1, -2.6), plain(0.65, 0.02, 0.01, gloss=1, shine=200)),
        (lamp(1.45, 0.76, 0.06, -4.14), plain(0.85, 0.30, 0.01, gloss=1)),
        (stop_sign, plain(0.60, 0.01, 0.01)),
    ]
    return render(parts, trees, eye=vec(-9.2, 2.5, 9.6), target=vec(-0.35, 1.25, 0), fov=35,
                  sun=vec(-0.75, 1.1, 0.7), sun_colour=vec(2.9, 2.7, 2.35), ground=street,
                  bounds=(vec(-0.2, 1.4, 0), 4.9), far_blur=(19, 45, 2.5))


def beach_umbrella():
    """A beach umbrella in rainbow colours and a towel by the sea."""
    tilt = 14
    rainbow = vec((0.72, 0.025, 0.02), (0.85, 0.20, 0.01), (0.90, 0.68, 0.03), (0.05, 0.40, 0.08), (0.02, 0.20, 0.55),
                  (0.25, 0.04, 0.40), (0.72, 0.025, 0.02), (0.90, 0.75, 0.03))
    middle = vec(0.1, 1.15, 0)

    def upright(p):
        return turn(p - middle, "z", tilt) + middle

    def canopy(p):
        q = upright(p) - middle
        angle = np.arctan2(q[:, 2], q[:, 0]) * 8 / (2 * np.pi)
        between = np.abs(np.mod(angle, 1) - 0.5) * 2                          # 1 at the ribs
        radius = 1.9 - 0.10 * (1 - between**2) * np.clip(1.4 - 0.6 * q[:, 1], 0, 1)
        dome = np.abs(length(q * vec(1, 1.12, 1)) - radius) - 0.016
        return np.maximum(dome, 0.62 + 0.10 * (1 - between**2) - q[:, 1]) * 0.8

    def cloth(p, n):
        q = upright(p) - middle
        angle = np.arctan2(q[:, 2], q[:, 0]) * 8 / (2 * np.pi)
        edge = np.abs(np.mod(angle + 0.5, 1) - 0.5) * np.hypot(q[:, 0], q[:, 2]) < 0.012
        colour = rainbow[np.floor(angle).astype(int) % 8] * np.where(edge, 0.75, 1)[:, None]
        return colour, 0.12, 12, n

    def pole(p):
        q = upright(p)
        return np.minimum(capsule(q, vec(0.1, -0.6, 0), vec(0.1, 2.95, 0), 0.035), length(q - vec(0.1, 2.97, 0)) - 0.06)

    def towel(p):
        q = turn(p - vec(-0.35, 0.035, 1.05), "y", 12)
        return box(q, vec(1.25, 0.03, 0.5), 0.03)

    def terry(p, n):
        q = turn(p - vec(-0.35, 0.035, 1.05), "y", 12)
        blue = np.mod(q[:, 0] * 2.4, 1) < 0.5
        colour = np.where(blue[:, None], vec(0.03, 0.20, 0.48), vec(0.85, 0.85, 0.82))
        return colour * (0.8 + 0.4 * noise(p * 30))[:, None], 0, 1, n

    def beach(p, n):
        x, _, z = p.T
        colour, _, _, normal = sand(p, n)
        shore = -4.6 + 0.55 * np.sin(x * 0.35 + 0.6) + 0.5 * (fbm(p * vec(0.6, 0, 0.6), 3) - 0.5)
        out = shore - z                                                       # distance out to sea
        wet = step(-1.3, -0.1, out)
        colour = colour * (1 - 0.45 * wet)[:, None]
        water = mix(vec(0.10, 0.42, 0.42), vec(0.01, 0.10, 0.22), step(0, 14, out))
        crest = fbm(p * vec(0.35, 0, 1.4) + 3, 4)
        foam = np.maximum(step(0.45, 0.0, out) * (noise(p * vec(4, 0, 6)) * 0.6 + 0.5),
                          step(0.60, 0.68, crest) * step(26, 3, out) * 0.8)
        water = mix(water, np.broadcast_to(vec(0.85, 0.88, 0.88), p.shape), np.clip(foam, 0, 1))
        sea = out > 0
        waves = bumpy(p, n, lambda q: fbm(q * vec(0.5, 1, 1.8), 4), 0.22)
        return (np.where(sea[:, None], water, colour), np.where(sea, 0.8, 0.25 * wet), np.where(sea, 120, 30),
                np.where(sea[:, None], waves, unit(normal + 1.5 * wet[:, None] * n)))

    return render([(canopy, cloth), (pole, plain(0.75, 0.72, 0.66, gloss=0.5)), (towel, terry)], sky,
                  eye=vec(-1.2, 1.3, 7.0), target=vec(-0.05, 1.5, 0), fov=38, sun=vec(0.75, 1.25, 0.75),
                  sun_colour=vec(3.0, 2.75, 2.4), ground=beach, bounds=(vec(0, 1.2, 0.3), 2.9), exposure=0.5)


def spider_web():
    """An orb web with dew before a dark garden, and its spider."""
    big = 4
    random = np.random.default_rng(3)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    p = np.stack([x / 150, y / 150, np.zeros_like(x)], -1).reshape(-1, 3)
    garden = mix(vec(0.008, 0.02, 0.012), vec(0.07, 0.13, 0.04), fbm(p + 9, 3)).reshape(HEIGHT, WIDTH, 3)
    for _ in range(36):
        at, size = random.uniform((0, 0), (WIDTH, HEIGHT)), random.uniform(8, 32)
        spot = step(size, size * 0.8, np.hypot(x - at[0], y - at[1])) * random.uniform(0.01, 0.07)
        garden = garden + spot[..., None] * random.uniform((0.5, 0.7, 0.1), (1.0, 1.0, 0.5)).astype(np.float32)

    web = Image.new("L", (WIDTH * big, HEIGHT * big))
    draw = ImageDraw.Draw(web)
    hub = np.array([0.48 * WIDTH, 0.46 * HEIGHT]) * big
    angles = np.sort(np.arange(26) * 2 * np.pi / 26 + random.uniform(-0.06, 0.06, 26))
    reach = random.uniform(0.85, 1.1, 26) * 175 * big

    def thread(points, width, brightness):
        draw.line([tuple(q) for q in points], fill=int(brightness), width=width, joint="curve")

    def dew(points, spacing, brightness):
        lengths = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
        for at in np.arange(random.uniform(0, spacing), lengths[-1], spacing):
            cx, cy = (np.interp(at, lengths, points[:, k]) for k in (0, 1))
            size = random.uniform(0.5, 1.25) * big
            draw.ellipse([cx - size, cy - size, cx + size, cy + size], fill=int(random.uniform(0.6, 1) * brightness))

    for angle in angles:
        far = hub + 420 * big * np.array([np.cos(angle), np.sin(angle)])
        thread([hub, far], 3, 135)
    for turn_ in range(27):
        for i in range(26):
            j = (i + 1) % 26
            share = [0.10 + 0.90 * (turn_ + k / 26) / 27 for k in (i, i + 1)]
            if turn_ in (3, 4):                                               # the free zone around the hub
                continue
            ends = [hub + share[k] * reach[m] * np.array([np.cos(angles[m]), np.sin(angles[m])])
                    for k, m in ((0, i), (1, j))]
            chord = np.hypot(*(ends[1] - ends[0]))
            s = np.linspace(0, 1, 14)[:, None]
            inward = hub - (ends[0] + ends[1]) / 2
            sag = 0.13 * chord * inward / np.hypot(*inward) + np.array([0, 0.05 * chord])
            points = ends[0] * (1 - s) + ends[1] * s + 4 * s * (1 - s) * sag
            thread(points, 3, 120)
            dew(points, 4.6 * big, 235)

    glow = np.asarray(web.resize((WIDTH, HEIGHT), Image.Resampling.BOX), np.float32) / 255
    halo = _blur(glow[..., None], 2.5)
    light = garden + (glow**1.5)[..., None] * vec(0.95, 1.0, 1.05) * 1.3 + halo * vec(0.22, 0.25, 0.27)

    spider = Image.new("L", (WIDTH * big, HEIGHT * big))
    draw = ImageDraw.Draw(spider)
    for side in (-1, 1):
        for lift, knee, foot in ((-10, (16, -20), (24, -40)), (-6, (21, -8), (37, -17)), (-3, (19, 6), (33, 14)),
                                 (0, (14, 16), (20, 38))):
            joints = [hub + big * np.array(q) * (side, 1) for q in ((3, lift), knee, foot)]
            draw.line([tuple(q) for q in joints], fill=255, width=7, joint="curve")
    for cx, cy, rx, ry in ((0, 7, 9.5, 13), (0, -8, 5.5, 6.5)):
        c = hub + big * np.array([cx, cy])
        draw.ellipse([c[0] - rx * big, c[1] - ry * big, c[0] + rx * big, c[1] + ry * big], fill=255)
    mask = np.asarray(spider.resize((WIDTH, HEIGHT), Image.Resampling.BOX), np.float32)[..., None] / 255
    u, v = x - hub[0] / big, y - hub[1] / big
    fur = mix(vec(0.05, 0.025, 0.012), vec(0.32, 0.17, 0.07), step(14, 0, np.hypot(u + 4, v - 3)))
    cross = (np.minimum(np.abs(u), np.abs(v - 4)) < 1.0) & (np.hypot(u, v - 4) < 6)
    fur = np.where(cross[..., None], vec(0.75, 0.68, 0.5), fur)
    return develop(light * (1 - mask) + fur * mask)


SCENES = (orange_and_lemon, teapot, ladybug, school_bus, beach_umbrella, spider_web)


if __name__ == "__main__":
    for scene in SCENES:
        if not sys.argv[1:] or scene.__name__ in sys.argv[1:]:
            scene().save(Path(__file__).with_name(f"{scene.__name__}.jpg"), quality=90)
            print(scene.__name__)
