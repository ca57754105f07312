# SPDX-License-Identifier: LGPL-2.1-or-later
"""Helpers of the end-to-end tests. They run inside the lab that lab/enter makes."""
